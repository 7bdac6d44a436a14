#include "io/dataset_prepare.h"

#include <fmt/format.h>
#include <kindling/error.h>
#include <kindling/random.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace kindling::io {
namespace {

enum SplitStep : std::uint32_t { validation_step = 0, test_step = 1 };

void check_labels(const Samples& split, int classes, const std::string& name, const char* which) {
  for (std::size_t i = 0; i < split.labels.size(); ++i) {
    if (split.labels[i] < 0 || split.labels[i] >= classes) {
      throw Error(ErrorCode::bad_input, fmt::format("{}: label of {} sample {} is {}, outside the classes 0 to {}",
                                                    name, which, i, split.labels[i], classes - 1));
    }
  }
}

void check_finite(const Samples& split, const std::string& name, const char* which) {
  for (std::size_t i = 0; i < split.floats.size(); ++i) {
    if (!std::isfinite(split.floats[i])) {
      const auto at = static_cast<std::int64_t>(i);
      throw Error(ErrorCode::bad_input,
                  fmt::format("{}: {} sample {}, feature {} is {}; finite float32 numbers expected", name, which,
                              at / split.features, at % split.features, split.floats[i]));
    }
  }
}

void check_splits(const Dataset& d) {
  const auto counts_match = [&](const Samples& s, const char* which) {
    if (static_cast<std::int64_t>(s.labels.size()) != s.count) {
      throw Error(ErrorCode::bad_input,
                  fmt::format("{}: {} samples but {} labels in the {} split", d.name, s.count, s.labels.size(), which));
    }
  };
  if (d.train.count == 0) throw Error(ErrorCode::bad_input, fmt::format("{}: zero training samples", d.name));
  counts_match(d.train, "training");
  counts_match(d.test, "test");
  if (d.test.count == 0) return;
  if (d.test.features != d.train.features) {
    throw Error(ErrorCode::bad_input, fmt::format("{}: training samples have {} features, test samples {}", d.name,
                                                  d.train.features, d.test.features));
  }
  if (d.test.eight_bit() != d.train.eight_bit()) {
    // Bytes are read as b / 255, so that the two splits would live on different scales.
    throw Error(
        ErrorCode::bad_input,
        fmt::format("{}: unsigned bytes in one split and other numbers in the other (training {}, test {})", d.name,
                    d.train.eight_bit() ? "bytes" : "no bytes", d.test.eight_bit() ? "bytes" : "no bytes"));
  }
}

int count_classes(const Dataset& d, const DatasetOptions& options) {
  if (options.classes > 0) return options.classes;
  if (d.classes > 0) return d.classes;
  const std::int64_t classes = std::int64_t{*std::ranges::max_element(d.train.labels)} + 1;
  if (classes < 2)
    throw Error(ErrorCode::bad_input,
                fmt::format("{}: at least 2 classes expected, all {} training labels are 0", d.name, d.train.count));
  if (classes > d.train.count) {
    throw Error(ErrorCode::bad_input,
                fmt::format("{}: the largest label is {} but there are only {} training samples; class numbers "
                            "start at 0 and have no large gaps (set the number of classes if this is meant)",
                            d.name, classes - 1, d.train.count));
  }
  return static_cast<int>(classes);
}

void limit(Samples& split, std::int64_t count) {
  if (count == 0 || count >= split.count) return;
  split.count = count;
  split.labels.resize(static_cast<std::size_t>(count));
  const auto values = static_cast<std::size_t>(count * split.features);
  if (!split.bytes.empty()) split.bytes.resize(values);
  if (!split.floats.empty()) split.floats.resize(values);
  split.bytes.shrink_to_fit();
  split.floats.shrink_to_fit();
}

std::int64_t share(double fraction, std::int64_t count, const char* what) {
  const std::int64_t n = std::llround(fraction * static_cast<double>(count));
  if (n < 1)
    throw Error(ErrorCode::usage,
                fmt::format("{} fraction {} of {} samples is no sample at all", what, fraction, count));
  return n;
}

template <class T>
void split_rows(std::vector<T>& from, std::vector<T>& to, std::span<const std::int64_t> picked, std::int64_t width) {
  if (from.empty()) return;
  to.reserve(picked.size() * static_cast<std::size_t>(width));
  auto kept = from.begin();
  std::int64_t row = 0;
  const auto keep_until = [&](std::int64_t end) {
    const auto first = from.begin() + row * width;
    const auto last = from.begin() + end * width;
    kept = first == kept ? last : std::copy(first, last, kept);
  };
  for (const std::int64_t pick : picked) {
    keep_until(pick);
    to.insert(to.end(), from.begin() + pick * width, from.begin() + (pick + 1) * width);
    row = pick + 1;
  }
  keep_until(static_cast<std::int64_t>(from.size()) / width);
  from.erase(kept, from.end());
}

}  // namespace

void check_options(const DatasetOptions& options) {
  const auto fraction = [](double f, const char* what) {
    if (!(f >= 0.0 && f < 1.0))
      throw Error(ErrorCode::usage, fmt::format("{} fraction in [0, 1) expected, found {}", what, f));
  };
  const auto count = [](std::int64_t n, const char* what) {
    if (n < 0) throw Error(ErrorCode::usage, fmt::format("{} of 0 or more expected, found {}", what, n));
  };
  fraction(options.validation_fraction, "validation");
  fraction(options.test_fraction, "test");
  count(options.validation_count, "validation sample count");
  count(options.limit_train, "limit of training samples");
  count(options.limit_test, "limit of test samples");
  if (options.validation_count > 0 && options.validation_fraction > 0.0) {
    throw Error(ErrorCode::usage, fmt::format("validation samples are given twice: count {} and fraction {}",
                                              options.validation_count, options.validation_fraction));
  }
  if (options.classes < 0 || options.classes == 1) {
    throw Error(ErrorCode::usage,
                fmt::format("at least 2 classes expected (0: as many as the labels have), found {}", options.classes));
  }
}

void prepare_dataset(Dataset& d, const DatasetOptions& options, const Context& context) {
  check_options(options);
  check_splits(d);
  d.classes = count_classes(d, options);
  check_labels(d.train, d.classes, d.name, "training");
  check_labels(d.test, d.classes, d.name, "test");
  check_finite(d.train, d.name, "training");
  check_finite(d.test, d.name, "test");
  context.check_stop();

  if (d.test.count == 0 && options.test_fraction > 0.0) {
    const std::int64_t n = share(options.test_fraction, d.train.count, "test");
    d.test = take_rows(d.train, stratified_draw(d.train.labels, d.classes, n, 0, test_step, "test"));
  }
  limit(d.train, options.limit_train);
  limit(d.test, options.limit_test);
  std::int64_t held_out = options.validation_count;
  if (options.validation_fraction > 0.0) held_out = share(options.validation_fraction, d.train.count, "validation");
  if (held_out > 0) {
    d.validation = take_rows(
        d.train, stratified_draw(d.train.labels, d.classes, held_out, context.seed, validation_step, "validation"));
  }
  if (std::ranges::adjacent_find(d.train.labels, std::ranges::not_equal_to{}) == d.train.labels.end()) {
    throw Error(ErrorCode::bad_input,
                fmt::format("{}: at least 2 classes expected, all {} training samples have the label {}", d.name,
                            d.train.count, d.train.labels.front()));
  }
  standardisation_statistics(d.train, options.standardisation, d.name, d.mean, d.inverse_std);
}

std::vector<std::int64_t> stratified_draw(std::span<const std::int32_t> labels, int classes, std::int64_t count,
                                          std::uint64_t seed, std::uint32_t step, const std::string& what) {
  const auto total = static_cast<std::int64_t>(labels.size());
  std::vector<std::vector<std::int64_t>> members(static_cast<std::size_t>(classes));
  for (std::size_t i = 0; i < labels.size(); ++i)
    members[static_cast<std::size_t>(labels[i])].push_back(static_cast<std::int64_t>(i));
  std::int64_t spare = 0;
  for (const auto& m : members) spare += std::max<std::int64_t>(static_cast<std::int64_t>(m.size()) - 1, 0);
  if (count > spare) {
    throw Error(ErrorCode::usage,
                fmt::format("{} samples cannot be held out for {}: of {} training samples {} at most can go when "
                            "every class keeps one",
                            count, what, total, spare));
  }
  // Products of two sample counts stay below 2^63: counts are bounded by memory, far below 2^31.
  std::vector<std::int64_t> quota(members.size());
  std::vector<std::int64_t> remainder(members.size());
  std::int64_t assigned = 0;
  for (std::size_t c = 0; c < members.size(); ++c) {
    const auto size = static_cast<std::int64_t>(members[c].size());
    quota[c] = std::min(count * size / total, std::max<std::int64_t>(size - 1, 0));
    remainder[c] = count * size % total;
    assigned += quota[c];
  }
  std::vector<std::size_t> order(members.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) { return remainder[a] > remainder[b]; });
  // One round hands out the remainders; more are needed only where classes could not spare their share.
  while (assigned < count) {
    for (const std::size_t c : order) {
      if (assigned == count) break;
      if (quota[c] + 1 < static_cast<std::int64_t>(members[c].size())) {
        ++quota[c];
        ++assigned;
      }
    }
  }
  std::vector<std::int64_t> picked;
  for (std::size_t c = 0; c < members.size(); ++c) {
    const Stream stream{.seed = seed, .purpose = Purpose::split, .unit = static_cast<std::uint32_t>(c), .step = step};
    const auto permutation = random_permutation(stream, static_cast<std::int64_t>(members[c].size()));
    for (std::int64_t i = 0; i < quota[c]; ++i) {
      picked.push_back(members[c][static_cast<std::size_t>(permutation[static_cast<std::size_t>(i)])]);
    }
  }
  std::ranges::sort(picked);
  return picked;
}

Samples take_rows(Samples& from, std::span<const std::int64_t> picked) {
  Samples taken;
  taken.count = static_cast<std::int64_t>(picked.size());
  taken.features = from.features;
  taken.sample_shape = from.sample_shape;
  split_rows(from.bytes, taken.bytes, picked, from.features);
  split_rows(from.floats, taken.floats, picked, from.features);
  split_rows(from.labels, taken.labels, picked, 1);
  from.count -= taken.count;
  return taken;
}

}  // namespace kindling::io
