// A small data set with classes that a linear model separates well but not perfectly, for tests of methods and
// training.
#pragma once

#include <kindling/dataset.h>
#include <kindling/random.h>

#include <cmath>

namespace kindling::test {

/// `count` samples of `features` float features in `classes` classes (Gaussian clouds around random centres).
inline Samples gaussian_clouds(std::int64_t count, std::int64_t features, int classes, std::uint32_t unit) {
  Samples samples;
  samples.count = count;
  samples.features = features;
  samples.sample_shape = {features};
  for (std::int64_t i = 0; i < count; ++i) {
    const auto label = static_cast<std::uint32_t>(i % classes);
    PhiloxReader centre({99, Purpose::test, label, 0});
    PhiloxReader noise({99, Purpose::test, 1000 + unit, static_cast<std::uint32_t>(i)});
    for (std::int64_t k = 0; k < features; ++k)
      samples.floats.push_back(static_cast<float>(0.6 * centre.normal() + noise.normal()));
    samples.labels.push_back(static_cast<std::int32_t>(label));
  }
  return samples;
}

inline Dataset small_data(std::int64_t count = 2000, std::int64_t features = 20, int classes = 4) {
  Dataset data;
  data.name = "clouds";
  data.classes = classes;
  data.train = gaussian_clouds(count, features, classes, 0);
  data.validation = gaussian_clouds(count / 4, features, classes, 1);
  data.test = gaussian_clouds(count / 4, features, classes, 2);
  data.mean.assign(static_cast<std::size_t>(features), 0.0F);
  data.inverse_std.assign(static_cast<std::size_t>(features), 1.0F);
  return data;
}

}  // namespace kindling::test
