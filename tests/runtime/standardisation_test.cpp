#include <kindling/dataset.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "io/dataset_prepare.h"
#include "support/catch.h"
#include "support/dataset_files.h"
#include "support/temp_dir.h"

using namespace kindling;
using namespace kindling::test;

TEST_CASE("standardisation of bytes: statistics of the training split in units of 255", "[standardisation]") {
  const TempDir dir;
  write_idx_folder(dir, cycle(90, 3));
  const auto value = [](const Dataset& d, std::size_t row, std::size_t k) {
    return (static_cast<double>(d.train.bytes[3 * row + k]) / 255.0 - static_cast<double>(d.mean[k])) *
           static_cast<double>(d.inverse_std[k]);
  };
  // float32 rounding of mean and inverse_std, times values of a few standard deviations
  const double tolerance = 8.0 * static_cast<double>(std::numeric_limits<float>::epsilon());

  for (const double held_out : {0.0, 0.3}) {
    const Dataset d = load(dir.path().string(), {.validation_fraction = held_out});
    double sum = 0.0;
    double squares = 0.0;
    const auto n = static_cast<std::size_t>(d.train.count);
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t k = 0; k < 3; ++k) {
        sum += value(d, i, k);
        squares += value(d, i, k) * value(d, i, k);
      }
    }
    CHECK(std::abs(sum / static_cast<double>(3 * n)) < tolerance);
    CHECK(std::abs(squares / static_cast<double>(3 * n) - 1.0) < tolerance);
    CHECK(d.mean[0] == d.mean[2]);
  }

  const Dataset each = load(dir.path().string(), {.standardisation = Standardisation::per_feature});
  for (std::size_t k = 0; k < 2; ++k) {
    double sum = 0.0;
    double squares = 0.0;
    for (std::size_t i = 0; i < 90; ++i) {
      sum += value(each, i, k);
      squares += value(each, i, k) * value(each, i, k);
    }
    CHECK(std::abs(sum / 90.0) < tolerance);
    CHECK(std::abs(squares / 90.0 - 1.0) < tolerance);
  }
  CHECK(each.inverse_std[2] == 0.0F);  // the third byte is always 7
  CHECK(each.mean[2] == 7.0F / 255.0F);

  const Dataset scaled = load(dir.path().string(), {.standardisation = Standardisation::scale});
  CHECK(value(scaled, 3, 1) == 6.0 / 255.0);
  const Dataset raw = load(dir.path().string(), {.standardisation = Standardisation::none});
  CHECK(value(raw, 3, 1) == Approx(6.0).epsilon(1e-12));
}

TEST_CASE("standardisation of floats: no cancellation, constant features give 0", "[standardisation]") {
  const TempDir dir;
  // A feature of mean 1e6 and standard deviation 0.5, and a constant one whose value has no exact sum.
  Arrays a{.features = 2, .x = {}, .y = {}, .x_test = {0, 0}, .y_test = {0}};
  for (int i = 0; i < 1001; ++i) {
    a.x.push_back(i == 1000 ? 1e6F : 1e6F + (i % 2 == 0 ? 0.5F : -0.5F));
    a.x.push_back(0.1F);
    a.y.push_back(static_cast<float>(i % 2));
  }
  const std::string path = write_arrays(dir, a);
  const Dataset d = load(path, {.standardisation = Standardisation::per_feature});
  CHECK(d.mean[0] == 1e6F);
  CHECK(static_cast<double>(d.inverse_std[0]) == Approx(1.0 / std::sqrt(0.25 * 1000.0 / 1001.0)).epsilon(2e-7));
  CHECK(d.mean[1] == 0.1F);
  CHECK(d.inverse_std[1] == 0.0F);
  const Dataset all = load(path);
  const double half = (1e6 - static_cast<double>(0.1F)) / 2.0;
  CHECK(static_cast<double>(all.mean[0]) == Approx(half + static_cast<double>(0.1F)).epsilon(2e-7));
  CHECK(static_cast<double>(all.inverse_std[1]) == Approx(1.0 / half).epsilon(2e-7));
  const Dataset same = load(path, {.standardisation = Standardisation::scale});
  CHECK(same.mean == std::vector<float>{0, 0});
  CHECK(same.inverse_std == std::vector<float>{1, 1});
}

TEST_CASE("byte statistics are exact beyond one block of rows", "[standardisation]") {
  Samples s;
  s.count = 150'001;
  s.features = 2;
  for (std::int64_t i = 0; i < s.count; ++i) {
    s.bytes.push_back(255);
    s.bytes.push_back(i < 75'000 ? 255 : 0);
  }
  std::vector<float> mean;
  std::vector<float> inverse_std;
  io::standardisation_statistics(s, Standardisation::per_feature, "blocks", mean, inverse_std);
  const double p = 75'000.0 / 150'001.0;
  CHECK(mean[0] == 1.0F);
  CHECK(inverse_std[0] == 0.0F);
  CHECK(mean[1] == static_cast<float>(p));
  CHECK(static_cast<double>(inverse_std[1]) == Approx(1.0 / std::sqrt(p * (1.0 - p))).epsilon(2e-7));
}
