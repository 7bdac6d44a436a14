// Dropout's mask word for word against the host's generator.
#include "kernels/dropout.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "support/kernel_test.h"

using namespace kindling;
using namespace kindling::test;

namespace {

constexpr Stream stream{.seed = 0x1234567890ULL, .purpose = Purpose::dropout, .unit = 3, .step = 77};

bool dropped(std::int64_t n, std::int64_t k, std::int64_t cols, double rate) {
  const std::int64_t block = n * ((cols + 3) / 4) + k / 4;
  const auto word = philox_block(stream, static_cast<std::uint32_t>(block))[static_cast<std::size_t>(k % 4)];
  return static_cast<double>(word) < std::round(rate * 0x1p32);
}

}  // namespace

TEST_CASE("dropout drops by the stream's words and scales the rest", "[dropout]") {
  for (const std::int64_t rows : {0, 1, 3, 65}) {
    for (const std::int64_t cols : {1, 3, 4, 31, 32, 33, 100, 257}) {
      for (const double rate : {0.0, 0.25, 0.9}) {
        const std::int64_t gap = rows == 3 ? 5 : 0;
        CAPTURE(rows, cols, rate);
        const auto x = test_normals(rows * (cols + gap), 1);
        Guarded<float> y(rows, cols, gap);
        for (std::int64_t n = 0; n < rows; ++n)
          for (std::int64_t k = 0; k < cols; ++k) y(n, k) = x[static_cast<std::size_t>(n * (cols + gap) + k)];
        kernels::dropout(test_execution(), y.view(), stream, rate, y.view());  // in place
        y.check();
        const auto scale = static_cast<float>(1 / (1 - rate));
        for (std::int64_t n = 0; n < rows; ++n)
          for (std::int64_t k = 0; k < cols; ++k) {
            const float v = x[static_cast<std::size_t>(n * (cols + gap) + k)];
            REQUIRE(y(n, k) == v * (dropped(n, k, cols, rate) ? 0.0F : scale));
          }
      }
    }
  }
}

TEST_CASE("dropout keeps NaN, and the mean", "[dropout]") {
  constexpr std::int64_t rows = 50, cols = 999;
  std::vector<float> x(rows * cols, std::numeric_limits<float>::quiet_NaN()), y(x.size());
  kernels::dropout(test_execution(), {x.data(), {rows, cols}}, stream, 0.5, {y.data(), {rows, cols}});
  for (const float v : y) REQUIRE(std::isnan(v));
  std::fill(x.begin(), x.end(), 1.0F);
  kernels::dropout(test_execution(), {x.data(), {rows, cols}}, stream, 0.3, {y.data(), {rows, cols}});
  double sum = 0;
  for (const float v : y) sum += static_cast<double>(v);
  // Five standard errors of a mean of Bernoulli draws.
  CHECK(std::abs(sum / (rows * cols) - 1) < 5 * std::sqrt(0.3 / 0.7 / (rows * cols)));
}

TEST_CASE("dropout gives the same bits for any number of threads and refuses what does not fit", "[dropout]") {
  constexpr std::int64_t rows = 301, cols = 1003;
  const auto x = test_normals(rows * cols, 2);
  std::vector<std::vector<float>> results;
  for (const int threads : {1, 2, 4}) {
    std::vector<float> y(x.size());
    kernels::dropout(test_execution(threads), {x.data(), {rows, cols}}, stream, 0.5, {y.data(), {rows, cols}});
    results.push_back(y);
  }
  for (const auto& r : results) CHECK(std::memcmp(r.data(), results[0].data(), r.size() * sizeof(float)) == 0);
  std::vector<float> y(6);
  CHECK_THROWS_WITH(kernels::dropout(test_execution(), {x.data(), {2, 3}}, stream, 1.0, {y.data(), {2, 3}}),
                    Catch::Contains("[0, 1)"));
  CHECK_THROWS_AS(kernels::dropout(test_execution(), {x.data(), {2, 3}}, stream, 0.1, {y.data(), {3, 2}}), Error);
}
