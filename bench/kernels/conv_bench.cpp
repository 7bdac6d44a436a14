// Convolution forward (bias and ReLU included), input gradient and weight gradient, beside oneDNN on the same images.
#include <fmt/format.h>

#include <cmath>

#include "kernels/conv.h"
#include "kernels/dense_problem.h"
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

void expect_near(const char* what, double found, double wanted, double magnitude, double terms) {
  const double tolerance = 4 * (std::sqrt(terms) + 2) * epsilon32 * magnitude;
  if (!(std::abs(found - wanted) <= tolerance))
    throw WrongAnswer(
        fmt::format("wrong answer: {} is {:.9g}, expected {:.9g} within {:.2g}", what, found, wanted, tolerance));
}

// Every element of an output must have been written; a spread of them is checked.
void expect_written(const char* what, std::span<const float> values) {
  for (const float v : values)
    if (std::isnan(v)) throw WrongAnswer(fmt::format("wrong answer: {} has elements that were not written", what));
}
constexpr std::int64_t checked = 997;  // a prime, so that all channels, borders and samples are met

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
    expect_near("y", y.data()[at], z > 0 ? z : 0, magnitude, static_cast<double>(shape.fan_in()));
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
    expect_near("dx", dx.data()[at], sum, magnitude, 9.0 * static_cast<double>(shape.channels_out));
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
    expect_near("dw", dw.data()[at], sum, magnitude, terms);
  }
}

struct Operation {
  const char* name;
  void (*run)(const kernels::Execution&, ConvProblem&);
  void (ConvProblem::*verify)(const std::function<void()>&);
  std::function<void()> (Peer::*peer)(const Convolution&) const;
};

const Operation operations[] = {
    {"conv2d_forward",
     [](const kernels::Execution& e, ConvProblem& p) {
       kernels::conv2d_forward(e, p.x, p.w, p.bias.flat(), {ActivationKind::relu}, p.shape, p.y);
     },
     &ConvProblem::verify_forward, &Peer::conv_forward},
    {"conv2d_input_gradient",
     [](const kernels::Execution& e, ConvProblem& p) {
       kernels::conv2d_input_gradient(e, p.dz, p.w, p.x, {ActivationKind::identity}, p.shape, p.dx);
     },
     &ConvProblem::verify_input_gradient, &Peer::conv_input_gradient},
    {"conv2d_weight_gradient",
     [](const kernels::Execution& e, ConvProblem& p) {
       kernels::conv2d_weight_gradient(e, p.x, p.dz, p.shape, p.dw, p.db.flat());
     },
     &ConvProblem::verify_weight_gradient, &Peer::conv_weight_gradient}};

void add_rows(Registry& registry, const Settings& settings) {
  for (const Operation& op : operations) {
    report_missing_peers(registry, op.name, {"onednn"});
    for (const ConvShape& s : conv_shapes) {
      for (const int threads : settings.threads) {
        const Shared<ConvProblem> shared([s] { return std::make_shared<ConvProblem>(s); });
        Comparison comparison{.kernel = op.name,
                              .shape = fmt::format("{}x{}x{}to{}", conv_batch, s.size, s.channels_in, s.channels_out),
                              .threads = threads,
                              .work = {.flops = ConvProblem::flops(s)},
                              .limit = Limit::multiply_add,
                              .goal = {.ratio = 1},
                              .contestants = {}};
        const auto add = [&](const std::string& name, bool peer,
                             const std::function<std::function<void()>(ConvProblem&)>& bind) {
          comparison.contestants.push_back({name, peer, [shared, bind, verify = op.verify] {
                                              const auto p = shared.get();
                                              const auto run = [p, call = bind(*p)] { call(); };
                                              return Trial{run, [p, run, verify] { (*p.*verify)(run); }, {}};
                                            }});
        };
        for (const kernels::Target* target : settings.targets) {
          const kernels::Execution execution{target, threads};
          add(target->name, false,
              [execution, run = op.run](ConvProblem& p) { return [&p, execution, run] { run(execution, p); }; });
        }
        for (const PeerRow& row : peers()) {
          if (row.peer == nullptr || row.name != "onednn") continue;
          add(row.name, true, [peer = row.peer, bind = op.peer, threads](ConvProblem& p) -> std::function<void()> {
            peer->set_threads(threads);
            return [peer, threads, call = (peer->*bind)(p.operation())] {
              peer->set_threads(threads);
              call();
            };
          });
        }
        registry.add(std::move(comparison));
      }
    }
  }
}

const Registration registration{add_rows};

}  // namespace
}  // namespace kindling::bench
