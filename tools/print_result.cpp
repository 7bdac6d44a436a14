#include "tools/print_result.h"

#include "kernels/dispatch.h"
#include "tools/report_text.h"

namespace kindling::tools {

void print_result(const GlobalOptions& globals, nlohmann::json result, const std::string& text) {
  const kernels::Target& target = *kernels::execution(globals.context()).target;
  nlohmann::json device;
  if (target.gpu) {
    device = {{"target", target.name},
              {"bytes_to_device", globals.log.bytes_to_device},
              {"bytes_to_host", globals.log.bytes_to_host},
              {"host_steps", globals.log.host_steps}};
    result["device"] = device;
  }
  if (globals.json) {
    print_out(result.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  } else {
    print_out(text + (device.is_null() ? "" : "\n" + device_text(device)));
  }
}

}  // namespace kindling::tools
