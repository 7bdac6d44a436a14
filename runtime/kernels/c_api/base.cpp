#include <kindling/kernels/base.h>
#include <kindling/targets.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "kernels/c_api/convert.h"

namespace kindling::kernels::c_api {
namespace {

// Of fixed size: keeping a message must not fail.
thread_local std::array<char, 1024> last_error{};

kindling_target described(const Target& t) {
  return {t.name.c_str(), t.halide_target.c_str(), t.gpu ? 1 : 0, t.runnable ? 1 : 0, t.reason.c_str()};
}

}  // namespace

kindling_status failed(kindling_status status, std::string_view message) noexcept {
  const std::size_t length = std::min(message.size(), last_error.size() - 1);
  std::memcpy(last_error.data(), message.data(), length);
  last_error[length] = '\0';
  return status;
}

Execution execution_of(const kindling_context* context) {
  Context c;
  if (context != nullptr) {
    c.threads = context->threads;
    if (context->target != nullptr) c.target = context->target;
  }
  return execution(c);
}

Activation Arguments::activation(const kindling_activation& a) const {
  switch (a.kind) {
    case KINDLING_IDENTITY: return {ActivationKind::identity, a.negative_slope};
    case KINDLING_RELU: return {ActivationKind::relu, a.negative_slope};
    case KINDLING_LEAKY_RELU: return {ActivationKind::leaky_relu, a.negative_slope};
    case KINDLING_TANH: return {ActivationKind::tanh, a.negative_slope};
    case KINDLING_SIGMOID: return {ActivationKind::sigmoid, a.negative_slope};
  }
  refuse("activation", fmt::format("has the unknown kind {}", static_cast<int>(a.kind)));
}

void Arguments::check(std::string_view name, bool has_memory, std::int64_t rows, std::int64_t cols) const {
  if (rows < 0 || cols < 0) refuse(name, fmt::format("has a negative extent: {} x {}", rows, cols));
  if (!has_memory && rows > 0 && cols > 0) refuse(name, fmt::format("is NULL but has {} x {} elements", rows, cols));
}

void Arguments::refuse(std::string_view name, std::string_view what) const {
  throw Error(ErrorCode::usage, fmt::format("{}: argument '{}' {}", function_, name, what));
}

}  // namespace kindling::kernels::c_api

using namespace kindling;
using namespace kindling::kernels;

const char* kindling_last_error(void) { return c_api::last_error.data(); }

const char* kindling_kernels_version(void) { return KINDLING_VERSION; }

int kindling_target_count(void) {
  int count = 0;
  // The probes allocate; where even that fails there are no targets.
  (void)c_api::guarded(__func__, [&](const auto&) { count = static_cast<int>(targets().size()); });
  return count;
}

kindling_status kindling_target_at(int index, kindling_target* target) {
  return c_api::guarded(__func__, [&](const c_api::Arguments& a) {
    kindling_target& result = a.result("target", target);
    const auto& all = targets();
    if (index < 0 || index >= static_cast<int>(all.size())) {
      throw Error(ErrorCode::usage,
                  fmt::format("kindling_target_at: expected an index in 0..{}, found {}", all.size() - 1, index));
    }
    result = c_api::described(all[static_cast<std::size_t>(index)]);
  });
}

kindling_status kindling_resolve(const kindling_context* context, kindling_target* target, int* threads) {
  return c_api::run(__func__, context, [&](const Execution& e, const auto&) {
    if (target != nullptr) *target = c_api::described(*e.target);
    if (threads != nullptr) *threads = e.threads;
  });
}
