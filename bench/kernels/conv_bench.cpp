// Convolution forward (bias and ReLU included), input gradient and weight gradient, beside oneDNN on the same images.
#include <fmt/format.h>

#include <cmath>

#include "kernels/conv.h"
#include "kernels/operations.h"
#include "shapes/conv.h"

namespace kindling::bench {
namespace {

struct ConvProblem {
  explicit ConvProblem(const ConvShape& s)
      : shape{.height = s.size,
              .width = s.size,
              .channels_in = s.channels_in,
              .channels_out = s.channels_out,
              .kernel_height = conv_kernel,
              .kernel_width = conv_kernel,
              .stride = 1,
              .padding = conv_padding},
        x({conv_batch, shape.in_features()}),
        w({s.channels_out, shape.fan_in()}),
        bias({s.channels_out}),
        y({conv_batch, shape.out_features()}),
        dz({conv_batch, shape.out_features()}),
        dx({conv_batch, shape.in_features()}),
        dw({s.channels_out, shape.fan_in()}),
        db({s.channels_out}) {
    fill_random(x.flat(), 21);
    fill_random(w.flat(), 22, 1.0F / std::sqrt(static_cast<float>(shape.fan_in())));
    fill_random(bias.flat(), 23);
    fill_random(dz.flat(), 24);
  }
  [[nodiscard]] Convolution operation() {
    return {shape.height,
            shape.width,
            shape.channels_in,
            shape.channels_out,
            conv_kernel,
            conv_padding,
            x,
            w,
            bias.flat(),
            y,
            dz,
            dx,
            dw,
            db.flat()};
  }
  static double flops(const ConvShape& s) {
    return 2.0 * static_cast<double>(conv_batch * s.size * s.size * s.channels_out * s.channels_in) * conv_kernel *
           conv_kernel;
  }

  // One term of the sums: pixel (row, col) of x and weight (ky, kx) that meet in output pixel (row, col); 0 outside.
  [[nodiscard]] double pixel(const Tensor& image, std::int64_t channels, std::int64_t n, std::int64_t row,
                             std::int64_t col, std::int64_t c) const {
    if (row < 0 || col < 0 || row >= shape.height || col >= shape.width) return 0;
    return image.view()(n, (row * shape.width + col) * channels + c);
  }
  [[nodiscard]] double weight(std::int64_t o, std::int64_t c, std::int64_t ky, std::int64_t kx) const {
    return w.view()(o, (c * conv_kernel + ky) * conv_kernel + kx);
  }

  void verify_forward(const std::function<void()>& run);
  void verify_input_gradient(const std::function<void()>& run);
  void verify_weight_gradient(const std::function<void()>& run);

  kernels::ConvShape shape;
  Tensor x, w, bias, y, dz, dx, dw, db;
};

// Every element of an output must have been written; a spread of them is checked. A prime, so that all channels,
// borders and samples are met.
constexpr std::int64_t checked = 997;

void ConvProblem::verify_forward(const std::function<void()>& run) {
  poison(y.flat());
  run();
  expect_written("y", y.flat());
  const std::int64_t o_count = shape.channels_out, size = y.view().size();
  for (std::int64_t i = 0; i < checked; ++i) {
    const std::int64_t at = i * (size / checked) + i % 7, n = at / shape.out_features(),
                       in_row = at % shape.out_features();
    const std::int64_t o = in_row % o_count, col = in_row / o_count % shape.width, row = in_row / o_count / shape.width;
    double z = bias.data()[o], magnitude = std::abs(z);
    for (std::int64_t c = 0; c < shape.channels_in; ++c)
      for (std::int64_t k = 0; k < conv_kernel * conv_kernel; ++k) {
        const std::int64_t ky = k / conv_kernel, kx = k % conv_kernel;
        const double term =
            weight(o, c, ky, kx) * pixel(x, shape.channels_in, n, row + ky - conv_padding, col + kx - conv_padding, c);
        z += term, magnitude += std::abs(term);
      }
    expect_near("y", at, y.data()[at], z > 0 ? z : 0, rounding(static_cast<double>(shape.fan_in())) * magnitude);
  }
}

void ConvProblem::verify_input_gradient(const std::function<void()>& run) {
  poison(dx.flat());
  run();
  expect_written("dx", dx.flat());
  const std::int64_t c_count = shape.channels_in, size = dx.view().size();
  for (std::int64_t i = 0; i < checked; ++i) {
    const std::int64_t at = i * (size / checked) + i % 7, n = at / shape.in_features(),
                       in_row = at % shape.in_features();
    const std::int64_t c = in_row % c_count, col = in_row / c_count % shape.width, row = in_row / c_count / shape.width;
    double sum = 0, magnitude = 0;
    for (std::int64_t o = 0; o < shape.channels_out; ++o)
      for (std::int64_t k = 0; k < conv_kernel * conv_kernel; ++k) {
        const std::int64_t ky = k / conv_kernel, kx = k % conv_kernel;
        const double term = weight(o, c, ky, kx) *
                            pixel(dz, shape.channels_out, n, row - ky + conv_padding, col - kx + conv_padding, o);
        sum += term, magnitude += std::abs(term);
      }
    expect_near("dx", at, dx.data()[at], sum, rounding(9.0 * static_cast<double>(shape.channels_out)) * magnitude);
  }
}

void ConvProblem::verify_weight_gradient(const std::function<void()>& run) {
  poison(dw.flat());
  poison(db.flat());
  run();
  expect_written("dw", dw.flat());
  expect_written("db", db.flat());
  const double terms = static_cast<double>(conv_batch * shape.height * shape.width);
  const std::int64_t size = dw.view().size(), steps = std::min<std::int64_t>(size, 17);
  for (std::int64_t i = 0; i < steps; ++i) {
    const std::int64_t at = i * (size / steps), o = at / shape.fan_in(),
                       k = at % shape.fan_in() % (conv_kernel * conv_kernel);
    const std::int64_t c = at % shape.fan_in() / (conv_kernel * conv_kernel), ky = k / conv_kernel,
                       kx = k % conv_kernel;
    double sum = 0, magnitude = 0;
    for (std::int64_t n = 0; n < conv_batch; ++n)
      for (std::int64_t p = 0; p < shape.height * shape.width; ++p) {
        const std::int64_t row = p / shape.width, col = p % shape.width;
        const double term = pixel(dz, shape.channels_out, n, row, col, o) *
                            pixel(x, shape.channels_in, n, row + ky - conv_padding, col + kx - conv_padding, c);
        sum += term, magnitude += std::abs(term);
      }
    expect_near("dw", at, dw.data()[at], sum, rounding(terms) * magnitude);
  }
}

const Operation<ConvProblem> operations[] = {
    {.name = "conv2d_forward",
     .run =
         [](const kernels::Execution& e, ConvProblem& p) {
           kernels::conv2d_forward(e, p.x, p.w, p.bias.flat(), {ActivationKind::relu}, p.shape, p.y);
         },
     .verify = &ConvProblem::verify_forward,
     .peers = {"onednn"},
     .bind = [](const Peer& peer, ConvProblem& p) { return peer.conv_forward(p.operation()); }},
    {.name = "conv2d_input_gradient",
     .run =
         [](const kernels::Execution& e, ConvProblem& p) {
           kernels::conv2d_input_gradient(e, p.dz, p.w, p.x, {ActivationKind::identity}, p.shape, p.dx);
         },
     .verify = &ConvProblem::verify_input_gradient,
     .peers = {"onednn"},
     .bind = [](const Peer& peer, ConvProblem& p) { return peer.conv_input_gradient(p.operation()); }},
    {.name = "conv2d_weight_gradient",
     .run = [](const kernels::Execution& e,
               ConvProblem& p) { kernels::conv2d_weight_gradient(e, p.x, p.dz, p.shape, p.dw, p.db.flat()); },
     .verify = &ConvProblem::verify_weight_gradient,
     .peers = {"onednn"},
     .bind = [](const Peer& peer, ConvProblem& p) { return peer.conv_weight_gradient(p.operation()); }}};

void add_rows(Registry& registry, const Settings& settings) {
  for (const auto& operation : operations) {
    report_missing_peers(registry, operation.name, operation.peers);
    for (const ConvShape& s : conv_shapes) {
      const Shared<ConvProblem> shared([s] { return std::make_shared<ConvProblem>(s); });
      add_operation(registry, settings, operation, shared,
                    {.shape = fmt::format("{}x{}x{}to{}", conv_batch, s.size, s.channels_in, s.channels_out),
                     .work = {.flops = ConvProblem::flops(s)},
                     .limit = Limit::multiply_add,
                     .goal = {.ratio = 1}});
    }
  }
}

const Registration registration{add_rows};

}  // namespace
}  // namespace kindling::bench
