// Maximum and average pooling, forward and gradient, channels last, beside oneDNN on the same images. The limit is
// reading the one image and writing the other.
#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "kernels/operations.h"
#include "kernels/pool.h"
#include "shapes/pool.h"

namespace kindling::bench {
namespace {

kernels::PoolShape shape_of(const PoolWindow& s) {
  return {.height = s.size,
          .width = s.size,
          .channels = s.channels,
          .window_height = s.window,
          .window_width = s.window,
          .stride = s.stride,
          .padding = s.padding};
}

struct PoolProblem {
  explicit PoolProblem(const PoolWindow& s);

  [[nodiscard]] Pooling operation(bool maximum, std::vector<std::uint8_t>& places) {
    return {shape.height,
            shape.width,
            shape.channels,
            shape.window_width,
            shape.stride,
            shape.padding,
            maximum,
            x,
            y,
            places,
            dy,
            dx};
  }

  void verify_max_forward(const std::function<void()>& run);
  void verify_max_gradient(const std::function<void()>& run);
  void verify_average_forward(const std::function<void()>& run);
  void verify_average_gradient(const std::function<void()>& run);

  kernels::PoolShape shape;
  Tensor x, y, dy, dx;
  std::vector<std::uint8_t> index;  // where the maxima of x are, which the gradient is given
  std::vector<std::uint8_t> found;  // what a forward pass says of it

 private:
  // visit(output, input, place of the input in the window): all pixels of all windows that lie in the image.
  template <class Visit>
  void for_each_pixel(const Visit& visit) const;
  [[nodiscard]] double pixels() const { return static_cast<double>(shape.window_height * shape.window_width); }
  // How many windows cover a pixel at most.
  [[nodiscard]] double windows() const {
    const std::int64_t along = (shape.window_width + shape.stride - 1) / shape.stride;
    return static_cast<double>(along * along);
  }
  void verify_gradient(const std::function<void()>& run, bool maximum);
};

template <class Visit>
void PoolProblem::for_each_pixel(const Visit& visit) const {
  const std::int64_t out_height = shape.out_height(), out_width = shape.out_width(), channels = shape.channels;
  for (std::int64_t n = 0; n < pool_batch; ++n)
    for (std::int64_t window = 0; window < out_height * out_width; ++window)
      for (std::int64_t place = 0; place < shape.window_height * shape.window_width; ++place) {
        const std::int64_t row = window / out_width * shape.stride - shape.padding + place / shape.window_width,
                           col = window % out_width * shape.stride - shape.padding + place % shape.window_width;
        if (row < 0 || row >= shape.height || col < 0 || col >= shape.width) continue;
        const std::int64_t out = (n * out_height * out_width + window) * channels,
                           in = ((n * shape.height + row) * shape.width + col) * channels;
        for (std::int64_t c = 0; c < channels; ++c) visit(out + c, in + c, place);
      }
}

PoolProblem::PoolProblem(const PoolWindow& s)
    : shape(shape_of(s)),
      x({pool_batch, shape.in_features()}),
      y({pool_batch, shape.out_features()}),
      dy({pool_batch, shape.out_features()}),
      dx({pool_batch, shape.in_features()}),
      index(static_cast<std::size_t>(y.size())),
      found(index.size()) {
  fill_random(x.flat(), 51);
  fill_random(dy.flat(), 52);
  std::vector<float> best(index.size(), -std::numeric_limits<float>::infinity());
  for_each_pixel([&](std::int64_t out, std::int64_t in, std::int64_t place) {
    const auto o = static_cast<std::size_t>(out);
    if (x.data()[in] > best[o]) best[o] = x.data()[in], index[o] = static_cast<std::uint8_t>(place);
  });
}

void PoolProblem::verify_max_forward(const std::function<void()>& run) {
  poison(y.flat());
  std::fill(found.begin(), found.end(), std::uint8_t{255});
  run();
  for_each_pixel([&](std::int64_t out, std::int64_t in, std::int64_t place) {
    const auto o = static_cast<std::size_t>(out);
    if (index[o] != place) return;
    expect_near("y", out, y.data()[out], x.data()[in], 0);
    expect_near("index", out, found[o], index[o], 0);
  });
}

void PoolProblem::verify_average_forward(const std::function<void()>& run) {
  poison(y.flat());
  run();
  std::vector<double> sum(index.size()), magnitude(index.size());
  for_each_pixel([&](std::int64_t out, std::int64_t in, std::int64_t) {
    sum[static_cast<std::size_t>(out)] += x.data()[in];
    magnitude[static_cast<std::size_t>(out)] += std::abs(x.data()[in]);
  });
  // Half an ulp for each addition, the reciprocal of the count, and the product with it.
  for (std::size_t i = 0; i < sum.size(); ++i)
    expect_near("y", static_cast<std::int64_t>(i), y.data()[i], sum[i] / pixels(),
                (pixels() + 1) * epsilon32 / 2 * magnitude[i] / pixels());
}

void PoolProblem::verify_gradient(const std::function<void()>& run, bool maximum) {
  poison(dx.flat());
  run();
  std::vector<double> sum(static_cast<std::size_t>(dx.size())), magnitude(sum.size());
  for_each_pixel([&](std::int64_t out, std::int64_t in, std::int64_t place) {
    if (maximum && index[static_cast<std::size_t>(out)] != place) return;
    const double term = dy.data()[out] / (maximum ? 1 : pixels());
    sum[static_cast<std::size_t>(in)] += term;
    magnitude[static_cast<std::size_t>(in)] += std::abs(term);
  });
  // Half an ulp for each addition to another; the mean has a reciprocal and a product besides.
  const double roundings = windows() - 1 + (maximum ? 0 : 2);
  for (std::size_t i = 0; i < sum.size(); ++i)
    expect_near("dx", static_cast<std::int64_t>(i), dx.data()[i], sum[i], roundings * epsilon32 / 2 * magnitude[i]);
}
void PoolProblem::verify_max_gradient(const std::function<void()>& run) { verify_gradient(run, true); }
void PoolProblem::verify_average_gradient(const std::function<void()>& run) { verify_gradient(run, false); }

const Operation<PoolProblem> operations[] = {
    {.name = "max_pool_forward",
     .run = [](const kernels::Execution& e,
               PoolProblem& p) { kernels::max_pool_forward(e, p.x, p.shape, p.y, p.found); },
     .verify = &PoolProblem::verify_max_forward,
     .peers = {"onednn"},
     .bind = [](const Peer& peer, PoolProblem& p) { return peer.pool_forward(p.operation(true, p.found)); }},
    {.name = "max_pool_gradient",
     .run = [](const kernels::Execution& e,
               PoolProblem& p) { kernels::max_pool_gradient(e, p.dy, p.index, p.shape, p.dx); },
     .verify = &PoolProblem::verify_max_gradient,
     .peers = {"onednn"},
     .bind = [](const Peer& peer, PoolProblem& p) { return peer.pool_gradient(p.operation(true, p.index)); }},
    {.name = "average_pool_forward",
     .run = [](const kernels::Execution& e, PoolProblem& p) { kernels::average_pool_forward(e, p.x, p.shape, p.y); },
     .verify = &PoolProblem::verify_average_forward,
     .peers = {"onednn"},
     .bind = [](const Peer& peer, PoolProblem& p) { return peer.pool_forward(p.operation(false, p.index)); }},
    {.name = "average_pool_gradient",
     .run =
         [](const kernels::Execution& e, PoolProblem& p) {
           kernels::average_pool_gradient(e, p.dy, p.x, {ActivationKind::identity}, p.shape, p.dx);
         },
     .verify = &PoolProblem::verify_average_gradient,
     .peers = {"onednn"},
     .bind = [](const Peer& peer, PoolProblem& p) { return peer.pool_gradient(p.operation(false, p.index)); }}};

void add_rows(Registry& registry, const Settings& settings) {
  for (const auto& operation : operations) {
    report_missing_peers(registry, operation.name, operation.peers);
    for (const PoolWindow& s : pool_windows) {
      const kernels::PoolShape shape = shape_of(s);
      const auto in = static_cast<double>(pool_batch * shape.in_features()),
                 out = static_cast<double>(pool_batch * shape.out_features());
      const bool indices = operation.name.starts_with("max");
      const Shared<PoolProblem> shared([s] { return std::make_shared<PoolProblem>(s); });
      add_operation(
          registry, settings, operation, shared,
          {.shape = fmt::format("{}x{}x{}w{}s{}p{}", pool_batch, s.size, s.channels, s.window, s.stride, s.padding),
           .work = {.bytes = 4 * (in + out) + (indices ? out : 0)},
           .limit = Limit::memory,
           .goal = {.ratio = 1}});
    }
  }
}

const Registration registration{add_rows};

}  // namespace
}  // namespace kindling::bench
