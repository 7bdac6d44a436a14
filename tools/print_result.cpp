#include "tools/print_result.h"

#include "kernels/dispatch.h"
#include "methods/report_json.h"
#include "tools/report_text.h"

namespace kindling::tools {

void print_result(const GlobalOptions& globals, nlohmann::json result, const std::string& text) {
  const kernels::Target& target = *kernels::execution(globals.context()).target;
  add_device(result, target, globals.log);
  if (globals.json) {
    print_out(result.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  } else {
    print_out(text + (target.gpu ? "\n" + device_text(result["device"]) : ""));
  }
}

}  // namespace kindling::tools
