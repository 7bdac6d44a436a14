#include "support.h"

namespace kindling::bench {

std::vector<Registration::AddRows>& Registration::all() {
  static std::vector<AddRows> list;
  return list;
}

std::string shape_name(std::initializer_list<std::int64_t> extents) {
  std::string name;
  for (const std::int64_t e : extents) name += (name.empty() ? "" : "x") + std::to_string(e);
  return name;
}

int available_threads() {
  Context context;
  context.target = kernels::default_target().name;
  return kernels::execution(context).threads;
}

}  // namespace kindling::bench
