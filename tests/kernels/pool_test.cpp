// Pooling against plain loops in float64; gradients against the definition and against central differences.
#include "kernels/pool.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "support/kernel_test.h"

using namespace kindling;
using namespace kindling::test;
using kernels::PoolShape;

namespace {

constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();
constexpr double epsilon = 0x1p-24;

// Height, width, channels, window, stride, padding: the usual 2 x 2 and others, channels around vectors of 4 to 16.
const PoolShape shapes[] = {
    {2, 2, 1, 2, 2, 2, 0},  {8, 8, 16, 2, 2, 2, 0},  {5, 7, 3, 2, 2, 2, 0},  {9, 6, 17, 3, 3, 2, 1},
    {7, 7, 8, 3, 3, 1, 1},  {5, 4, 33, 2, 3, 1, 0},  {1, 1, 5, 1, 1, 1, 0},  {6, 5, 7, 6, 5, 6, 0},
    {4, 9, 15, 4, 2, 3, 1}, {11, 3, 64, 3, 3, 3, 0}, {6, 6, 9, 2, 2, 3, 1},  {9, 8, 35, 3, 3, 2, 1},
    {9, 7, 18, 3, 3, 2, 0}, {6, 5, 40, 3, 3, 1, 1},  {7, 9, 21, 2, 2, 2, 0}, {2, 3, 16, 3, 3, 2, 1},
    {1, 1, 20, 3, 3, 1, 1}, {9, 9, 33, 5, 5, 2, 2},  {8, 6, 16, 8, 6, 8, 0}};

struct Image {
  const float* data;
  std::int64_t stride;
  const PoolShape& s;
  double operator()(std::int64_t n, std::int64_t h, std::int64_t w, std::int64_t c) const {
    return data[n * stride + (h * s.width + w) * s.channels + c];
  }
};

// Calls visit(n, h, w, c, column of the pooled row) for every pooled element.
template <class F>
void for_each_output(std::int64_t samples, const PoolShape& s, F visit) {
  for (std::int64_t n = 0; n < samples; ++n)
    for (std::int64_t h = 0; h < s.out_height(); ++h)
      for (std::int64_t w = 0; w < s.out_width(); ++w)
        for (std::int64_t c = 0; c < s.channels; ++c) visit(n, h, w, c, (h * s.out_width() + w) * s.channels + c);
}
// Calls visit(i, j, place) for the pixels of window (h, w) that lie in the image.
template <class F>
void for_each_pixel(const PoolShape& s, std::int64_t h, std::int64_t w, F visit) {
  for (std::int64_t a = 0; a < s.window_height; ++a)
    for (std::int64_t b = 0; b < s.window_width; ++b) {
      const std::int64_t i = h * s.stride - s.padding + a, j = w * s.stride - s.padding + b;
      if (i >= 0 && j >= 0 && i < s.height && j < s.width) visit(i, j, a * s.window_width + b);
    }
}

void check_max(const PoolShape& s, std::int64_t samples, std::int64_t gap, bool with_index) {
  CAPTURE(s.height, s.width, s.channels, s.window_height, s.window_width, s.stride, s.padding, samples, gap);
  const std::int64_t stride = s.in_features() + gap;
  auto x = test_normals(samples * stride, 1);
  for (float& v : x) v = std::round(v * 2) / 2;  // many ties
  for (std::size_t i = 3; i < x.size(); i += 41) x[i] = i % 2 == 0 ? not_a_number : -not_a_number;
  for (std::size_t i = 5; i < x.size(); i += 13) x[i] = -std::numeric_limits<float>::infinity();
  Guarded<float> y(samples, s.out_features(), gap);
  Guarded<std::uint8_t> index(samples * s.out_features());
  const ConstTensorView view(x.data(), samples, s.in_features(), stride);
  if (with_index) {
    kernels::max_pool_forward(test_execution(), view, s, y.view(), index.flat());
  } else {
    kernels::max_pool_inference(test_execution(), view, s, y.view());
  }
  y.check();
  index.check();
  const Image image{x.data(), stride, s};
  for_each_output(samples, s, [&](auto n, auto h, auto w, auto c, auto out) {
    double best = 0;
    std::int64_t place = -1;
    for_each_pixel(s, h, w, [&](auto i, auto j, auto p) {
      const double v = image(n, i, j, c);
      if (place < 0 || (!std::isnan(best) && (std::isnan(v) || v > best))) best = v, place = p;
    });
    if (std::isnan(best)) {
      REQUIRE(std::isnan(y(n, out)));
    } else {
      REQUIRE(static_cast<double>(y(n, out)) == best);
    }
    if (with_index) REQUIRE(index(0, n * s.out_features() + out) == place);
  });
}

}  // namespace

TEST_CASE("max-pool with indices: first of equals, NaN over all", "[max_pool_forward]") {
  for (const PoolShape& s : shapes) {
    for (const std::int64_t samples : {1, 3}) check_max(s, samples, samples == 3 ? 5 : 0, true);
  }
  check_max({32, 32, 16, 2, 2, 2, 0}, 7, 0, true);
  CHECK_NOTHROW(kernels::max_pool_forward(test_execution(), {nullptr, {0, 4}}, {2, 2, 1}, {nullptr, {0, 1}}, {}));
}

TEST_CASE("max-pool without indices", "[max_pool_inference]") {
  for (const PoolShape& s : shapes) {
    for (const std::int64_t samples : {1, 3}) check_max(s, samples, samples == 3 ? 5 : 0, false);
  }
  check_max({20, 20, 3, 17, 17, 1, 0}, 2, 0, false);  // more pixels than an index could count
}

TEST_CASE("pooling refuses what does not fit", "[max_pool_forward]") {
  std::vector<float> x(64), y(16);
  std::vector<std::uint8_t> index(16);
  const auto call = [&](const PoolShape& s) {
    kernels::max_pool_forward(test_execution(), {x.data(), {1, 64}}, s, {y.data(), {1, 16}}, index);
  };
  CHECK_NOTHROW(call({8, 8, 1, 2, 2, 2, 0}));
  CHECK_THROWS_WITH(call({8, 8, 1, 2, 2, 2, 2}), Catch::Contains("padding") && Catch::Contains("found 2"));
  CHECK_THROWS_WITH(call({8, 8, 1, 9, 2, 2, 0}), Catch::Contains("9 x 2"));
  CHECK_THROWS_WITH(call({8, 8, 2, 2, 2, 2, 0}), Catch::Contains("x"));
  CHECK_THROWS_WITH(call({8, 8, 1, 2, 2, 0, 0}), Catch::Contains("stride"));
  std::vector<float> big(40 * 40);
  CHECK_THROWS_WITH(kernels::max_pool_forward(test_execution(), {big.data(), {1, 1600}}, {40, 40, 1, 17, 17, 17},
                                              {y.data(), {1, 4}}, std::span(index).first(4)),
                    Catch::Contains("256"));
}

TEST_CASE("max-pool's gradient goes to the places of the maxima", "[max_pool_gradient]") {
  for (const PoolShape& s : shapes) {
    for (const std::int64_t samples : {0, 1, 3}) {
      CAPTURE(s.height, s.width, s.channels, s.window_height, s.window_width, s.stride, s.padding, samples);
      const std::int64_t gap = samples == 3 ? 3 : 0, out_stride = s.out_features() + gap;
      const auto dy = test_normals(samples * out_stride, 3);
      // Any pixel of the window that lies in the image.
      std::vector<std::uint8_t> index(static_cast<std::size_t>(samples * s.out_features()));
      PhiloxReader reader({.seed = 8, .unit = 5});
      std::vector<double> expected(static_cast<std::size_t>(samples * s.in_features())), size(expected);
      for_each_output(samples, s, [&](auto n, auto h, auto w, auto c, auto out) {
        std::vector<std::array<std::int64_t, 3>> pixels;
        for_each_pixel(s, h, w, [&](auto i, auto j, auto p) { pixels.push_back({i, j, p}); });
        const auto [i, j, p] = pixels[reader.below(pixels.size())];
        index[static_cast<std::size_t>(n * s.out_features() + out)] = static_cast<std::uint8_t>(p);
        const auto at = static_cast<std::size_t>(n * s.in_features() + (i * s.width + j) * s.channels + c);
        expected[at] += dy[static_cast<std::size_t>(n * out_stride + out)];
        size[at] += std::abs(static_cast<double>(dy[static_cast<std::size_t>(n * out_stride + out)]));
      });
      Guarded<float> dx(samples, s.in_features(), gap);
      kernels::max_pool_gradient(test_execution(), {dy.data(), samples, s.out_features(), out_stride}, index, s,
                                 dx.view());
      dx.check();
      const auto terms = static_cast<double>(s.window_height * s.window_width);
      for (std::int64_t n = 0; n < samples; ++n)
        for (std::int64_t k = 0; k < s.in_features(); ++k) {
          const auto at = static_cast<std::size_t>(n * s.in_features() + k);
          REQUIRE(std::abs(static_cast<double>(dx(n, k)) - expected[at]) <= terms * epsilon * size[at]);
        }
    }
  }
}

TEST_CASE("what stands at the places of the maxima", "[max_pool_take]") {
  for (const PoolShape& s : shapes) {
    for (const std::int64_t samples : {0, 1, 3}) {
      CAPTURE(s.height, s.width, s.channels, s.window_height, s.window_width, s.stride, s.padding, samples);
      const std::int64_t gap = samples == 3 ? 3 : 0, stride = s.in_features() + gap;
      auto x = test_normals(samples * stride, 13);
      if (samples > 0) x[0] = not_a_number;
      std::vector<std::uint8_t> index(static_cast<std::size_t>(samples * s.out_features()));
      std::vector<float> expected(index.size());
      PhiloxReader reader({.seed = 9, .unit = 6});
      for_each_output(samples, s, [&](auto n, auto h, auto w, auto c, auto out) {
        std::vector<std::array<std::int64_t, 3>> pixels;
        for_each_pixel(s, h, w, [&](auto i, auto j, auto p) { pixels.push_back({i, j, p}); });
        const auto [i, j, p] = pixels[reader.below(pixels.size())];
        const auto at = static_cast<std::size_t>(n * s.out_features() + out);
        index[at] = static_cast<std::uint8_t>(p);
        expected[at] = x[static_cast<std::size_t>(n * stride + (i * s.width + j) * s.channels + c)];
      });
      Guarded<float> y(samples, s.out_features(), gap);
      kernels::max_pool_take(test_execution(), {x.data(), samples, s.in_features(), stride}, index, s, y.view());
      y.check();
      for (std::int64_t n = 0; n < samples; ++n)
        for (std::int64_t k = 0; k < s.out_features(); ++k) {
          const float wanted = expected[static_cast<std::size_t>(n * s.out_features() + k)];
          REQUIRE((std::isnan(wanted) ? std::isnan(y(n, k)) : y(n, k) == wanted));
        }
    }
  }
  std::vector<float> x(16, 1.0F), y(4);
  const std::vector<std::uint8_t> index(3);
  CHECK_THROWS_WITH(
      kernels::max_pool_take(test_execution(), {x.data(), {1, 16}}, index, {4, 4, 1, 2, 2, 2, 0}, {y.data(), {1, 4}}),
      Catch::Contains("index"));
}

TEST_CASE("average-pool, padding counted as zeros", "[average_pool_forward]") {
  for (const PoolShape& s : shapes) {
    for (const std::int64_t samples : {0, 1, 3}) {
      CAPTURE(s.height, s.width, s.channels, s.window_height, s.window_width, s.stride, s.padding, samples);
      const std::int64_t gap = samples == 3 ? 3 : 0, stride = s.in_features() + gap;
      const auto x = test_normals(samples * stride, 4, 1.0, 2.0);
      Guarded<float> y(samples, s.out_features(), gap);
      kernels::average_pool_forward(test_execution(), {x.data(), samples, s.in_features(), stride}, s, y.view());
      y.check();
      const Image image{x.data(), stride, s};
      const auto area = static_cast<double>(s.window_height * s.window_width);
      for_each_output(samples, s, [&](auto n, auto h, auto w, auto c, auto out) {
        double sum = 0, size = 0;
        for_each_pixel(s, h, w, [&](auto i, auto j, auto) {
          sum += image(n, i, j, c);
          size += std::abs(image(n, i, j, c));
        });
        REQUIRE(std::abs(static_cast<double>(y(n, out)) - sum / area) <= (area + 3) * epsilon * size / area);
      });
    }
  }
  std::vector<float> x(18 * 4, 1.0F), y(4 * 2);
  x[5] = not_a_number;  // channel 1
  kernels::average_pool_forward(test_execution(), {x.data(), {4, 18}}, {3, 3, 2, 3, 3, 3, 0}, {y.data(), {4, 2}});
  CHECK(std::isnan(y[1]));
  for (const int i : {0, 2, 3, 7}) CHECK(y[static_cast<std::size_t>(i)] == Approx(1));
}

TEST_CASE("average-pool's gradient, with the derivative of the layer below", "[average_pool_gradient]") {
  for (const PoolShape& s : shapes) {
    for (const Activation& below :
         {Activation{ActivationKind::identity}, Activation{ActivationKind::relu}, Activation{ActivationKind::tanh}}) {
      for (const std::int64_t samples : {0, 1, 3}) {
        CAPTURE(s.height, s.width, s.channels, s.window_height, s.window_width, s.stride, s.padding, samples);
        const std::int64_t gap = samples == 3 ? 3 : 0, out_stride = s.out_features() + gap;
        const std::int64_t stride = s.in_features() + gap;
        const auto dy = test_normals(samples * out_stride, 5);
        auto x = test_normals(samples * stride, 6, 0.5);
        for (float& v : x) v = below.kind == ActivationKind::relu ? std::max(v, 0.0F) : std::tanh(v);
        std::vector<double> expected(static_cast<std::size_t>(samples * s.in_features())), size(expected);
        const auto area = static_cast<double>(s.window_height * s.window_width);
        for_each_output(samples, s, [&](auto n, auto h, auto w, auto c, auto out) {
          for_each_pixel(s, h, w, [&](auto i, auto j, auto) {
            const auto at = static_cast<std::size_t>(n * s.in_features() + (i * s.width + j) * s.channels + c);
            const double g = dy[static_cast<std::size_t>(n * out_stride + out)] / area;
            expected[at] += g;
            size[at] += std::abs(g);
          });
        });
        Guarded<float> dx(samples, s.in_features(), gap);
        kernels::average_pool_gradient(test_execution(), {dy.data(), samples, s.out_features(), out_stride},
                                       {x.data(), samples, s.in_features(), stride}, below, s, dx.view());
        dx.check();
        for (std::int64_t n = 0; n < samples; ++n)
          for (std::int64_t k = 0; k < s.in_features(); ++k) {
            const auto at = static_cast<std::size_t>(n * s.in_features() + k);
            const double v = x[static_cast<std::size_t>(n * stride + k)];
            const double slope = below.kind == ActivationKind::identity ? 1
                                 : below.kind == ActivationKind::relu   ? (v > 0 ? 1 : 0)
                                                                        : 1 - v * v;
            // The sum of at most `area` terms, the division, and 1 - v^2 off by one rounding.
            REQUIRE(std::abs(static_cast<double>(dx(n, k)) - slope * expected[at]) <=
                    (area + 4) * epsilon * size[at] * slope + 2 * epsilon * size[at]);
          }
      }
    }
  }
}

TEST_CASE("pooling gives the same bits for any number of threads", "[max_pool_gradient][average_pool_forward]") {
  const PoolShape s{13, 11, 19, 3, 3, 2, 1};
  constexpr std::int64_t samples = 37;
  const auto x = test_normals(samples * s.in_features(), 9);
  std::vector<std::vector<float>> results;
  for (const int threads : {1, 2, 4}) {
    const kernels::Execution exec = test_execution(threads);
    std::vector<float> y(static_cast<std::size_t>(samples * s.out_features())), average(y), dx(x.size()),
        back(x.size());
    std::vector<std::uint8_t> index(y.size());
    const TensorView pooled(y.data(), {samples, s.out_features()}), image(dx.data(), {samples, s.in_features()});
    const ConstTensorView in(x.data(), {samples, s.in_features()});
    kernels::max_pool_forward(exec, in, s, pooled, index);
    kernels::max_pool_gradient(exec, pooled, index, s, image);
    kernels::average_pool_forward(exec, in, s, {average.data(), {samples, s.out_features()}});
    kernels::average_pool_gradient(exec, pooled, in, {ActivationKind::relu}, s,
                                   {back.data(), {samples, s.in_features()}});
    y.insert(y.end(), dx.begin(), dx.end());
    y.insert(y.end(), average.begin(), average.end());
    y.insert(y.end(), back.begin(), back.end());
    results.push_back(y);
  }
  for (const auto& r : results) CHECK(std::memcmp(r.data(), results[0].data(), r.size() * sizeof(float)) == 0);
}
