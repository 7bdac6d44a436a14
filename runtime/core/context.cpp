#include <kindling/context.h>
#include <kindling/error.h>

namespace kindling {

void Context::check_stop() const {
  if (stop.stop_requested()) throw Error(ErrorCode::interrupted, "interrupted");
}

}  // namespace kindling
