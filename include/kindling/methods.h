#pragma once

#include <kindling/context.h>
#include <kindling/dataset.h>
#include <kindling/model.h>

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace kindling {

/// A method by name with its options as text: "ibci:law=he,k=3" or "xavier:distribution=uniform".
struct MethodSpec {
  std::string name;
  std::map<std::string, std::string> options;

  /// Throws Error{usage} for an unknown method, an unknown option or a value that does not parse, naming what is known.
  static MethodSpec parse(std::string_view text);
  /// The text that parse() accepts; options in alphabetical order, so that equal methods have equal names.
  [[nodiscard]] std::string text() const;
};

/// One entry of the catalogue of methods.
struct MethodInfo {
  std::string name;
  std::string summary;
  bool needs_data = false;
  std::vector<std::pair<std::string, std::string>> options;  ///< name, description with default
  bool needs_labels = true;  ///< false: the model's outputs need not match the data's classes
};
const std::vector<MethodInfo>& method_catalogue();
/// Throws Error{usage} listing the known methods.
const MethodInfo& method_info(std::string_view name);

/// The method that differs from `spec` only in that nothing is selected or learned from data (design of controls:
/// same law, same scale, same biases); an empty name when there is none: for methods that look at no data, and for
/// LSUV, whose whole effect is the scale, so that its base law is what it is to be compared with.
MethodSpec control_of(const MethodSpec& spec);

/// Initializes the model. `data` may be null for methods that need none (Error{usage} otherwise). Returns the method's
/// report as JSON text: {"method", "seconds", "layers": [...]}, and on a GPU row "device": {"target",
/// "bytes_to_device", "bytes_to_host", "host_steps": what the host did, in words}.
std::string initialize(Model& model, const MethodSpec& spec, const Dataset* data, const Context& context);

}  // namespace kindling
