#include "kernels/information.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/expect.h"

namespace kindling::kernels {

void donsker_varadhan(const Execution& execution, ConstTensorView joint, ConstTensorView product,
                      const DonskerVaradhanOptions& options, std::span<float> log_average, std::span<float> value,
                      TensorView joint_gradient, TensorView product_gradient) {
  constexpr std::string_view name = "donsker_varadhan";
  using Use = Buffer::Use;
  expect_rows(name, "joint", joint);
  expect_shape(name, "product", product, joint.rows(), product.rank() < 1 ? 0 : product.cols());
  expect_shape(name, "joint_gradient", joint_gradient, joint.rows(), joint.cols());
  expect_shape(name, "product_gradient", product_gradient, joint.rows(), product.cols());
  expect_size(name, "value", value, joint.rows());
  if (!(options.rate > 0.0F && options.rate <= 1.0F))
    refuse(name, fmt::format("expected a rate above 0 and at most 1, found {}", options.rate));
  if (options.rate < 1.0F || !log_average.empty()) expect_size(name, "log_average", log_average, joint.rows());
  if (joint.rows() == 0) return;
  if (joint.cols() < 1 || product.cols() < 1)
    refuse(name, fmt::format("expected at least one score of each kind, found {} joint and {} product ones",
                             joint.cols(), product.cols()));
  std::vector<float> before(value.size(), -std::numeric_limits<float>::infinity()), after(value.size());
  if (!log_average.empty()) before.assign(log_average.begin(), log_average.end());
  static const Kernel kernel{name};
  // With rate 1 nothing is kept, and the kernel does not look at this number; it must be finite.
  const float log_keep = options.rate < 1.0F ? std::log1p(-options.rate) : 0.0F;
  kernel(execution, buffer_of(Use::in, joint), buffer_of(Use::in, product), options.scale, std::log(options.rate),
         log_keep, in(std::span<const float>(before)), out(value), out(std::span<float>(after)),
         buffer_of(Use::out, joint_gradient), buffer_of(Use::out, product_gradient));
  std::copy(after.begin(), after.begin() + static_cast<std::ptrdiff_t>(log_average.size()), log_average.begin());
}

}  // namespace kindling::kernels
