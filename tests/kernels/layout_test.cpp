// Layouts of images against their definitions, element by element.
#include "kernels/layout.h"

#include "support/kernel_test.h"

using namespace kindling;
using namespace kindling::test;
using kernels::PatchShape;

TEST_CASE("planar images to channels last and back", "[transpose_samples]") {
  for (const std::int64_t samples : {0, 1, 3, 17}) {
    for (const std::int64_t channels : {1, 2, 3, 4, 5, 8, 33}) {
      for (const std::int64_t positions : {1, 3, 4, 25, 64, 67}) {
        const std::int64_t cols = channels * positions, gap = samples == 3 ? 7 : 0;
        CAPTURE(samples, channels, positions);
        const auto x = test_normals(samples * (cols + gap), 1);
        Guarded<float> last(samples, cols, gap), planar(samples, cols, gap);
        kernels::planar_to_channels_last(test_execution(), {x.data(), samples, cols, cols + gap}, channels,
                                         last.view());
        kernels::channels_last_to_planar(test_execution(), last.view(), channels, planar.view());
        last.check();
        planar.check();
        for (std::int64_t n = 0; n < samples; ++n)
          for (std::int64_t c = 0; c < channels; ++c)
            for (std::int64_t p = 0; p < positions; ++p) {
              const float v = x[static_cast<std::size_t>(n * (cols + gap) + c * positions + p)];
              REQUIRE(last(n, p * channels + c) == v);
              REQUIRE(planar(n, c * positions + p) == v);
            }
      }
    }
  }
  std::vector<float> x(6), y(6);
  CHECK_THROWS_WITH(kernels::planar_to_channels_last(test_execution(), {x.data(), {1, 6}}, 4, {y.data(), {1, 6}}),
                    Catch::Contains("multiple of 4"));
}

TEST_CASE("patches are the receptive fields, in the order of a convolution's weights", "[patches]") {
  const PatchShape shapes[] = {{1, 1, 1, 1, 1, 1, 0},  {5, 6, 3, 3, 3, 1, 1}, {7, 7, 8, 5, 5, 1, 2},
                               {8, 5, 17, 3, 2, 2, 0}, {6, 6, 2, 3, 3, 3, 1}, {4, 9, 33, 1, 4, 1, 0}};
  for (const PatchShape& s : shapes) {
    for (const std::int64_t samples : {0, 1, 3}) {
      const std::int64_t cols = s.height * s.width * s.channels, gap = samples == 3 ? 5 : 0;
      CAPTURE(s.height, s.width, s.channels, s.kernel_height, s.kernel_width, s.stride, s.padding, samples);
      const auto x = test_normals(samples * (cols + gap), 1);
      Guarded<float> rows(samples * s.positions(), s.fan_in());
      kernels::patches(test_execution(), {x.data(), samples, cols, cols + gap}, s, rows.view());
      rows.check();
      for (std::int64_t n = 0; n < samples; ++n)
        for (std::int64_t h = 0; h < s.out_height(); ++h)
          for (std::int64_t w = 0; w < s.out_width(); ++w)
            for (std::int64_t c = 0; c < s.channels; ++c)
              for (std::int64_t a = 0; a < s.kernel_height; ++a)
                for (std::int64_t b = 0; b < s.kernel_width; ++b) {
                  const std::int64_t i = h * s.stride - s.padding + a, j = w * s.stride - s.padding + b;
                  const bool inside = i >= 0 && j >= 0 && i < s.height && j < s.width;
                  const float v =
                      inside ? x[static_cast<std::size_t>(n * (cols + gap) + (i * s.width + j) * s.channels + c)] : 0;
                  REQUIRE(rows((n * s.out_height() + h) * s.out_width() + w,
                               (c * s.kernel_height + a) * s.kernel_width + b) == v);
                }
    }
  }
  std::vector<float> x(9), y(4);
  CHECK_THROWS_WITH(kernels::patches(test_execution(), {x.data(), {1, 9}}, {3, 3, 1, 5, 5, 1, 0}, {y.data(), {1, 4}}),
                    Catch::Contains("5 x 5"));
}
