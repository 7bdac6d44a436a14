// Quantiles of pairwise distances by counting: a pass counts the pairs below some thresholds, the thresholds close in
// on the wanted rank, and a last pass finds the few distances that come next above the one before it. For small pools
// one kernel does all of it, since their distances fit into a core's cache.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <numeric>
#include <utility>
#include <vector>

#include "kernels/gram.h"
#include "kernels/gram_arguments.h"

namespace kindling::kernels {
namespace {

using Use = Buffer::Use;

constexpr std::size_t thresholds = 8;  // both as in generators/distance_generator.cpp and distance_select_generator.cpp
constexpr std::int64_t places = 8;
constexpr std::int64_t small_pool = 256;  // rows, half of whose 256 KiB of squared distances are used
using Thresholds = std::array<float, thresholds>;

// Squared distances are not negative, so that their order is that of their bits.
std::int64_t bits_of(float v) { return std::bit_cast<std::int32_t>(v); }
float value_of(std::int64_t bits) { return bits < 0 ? 0.0F : std::bit_cast<float>(static_cast<std::int32_t>(bits)); }

// The search for order statistic `rank` (from 0) and, if `both`, the next one, among the squared distances of a
// problem.
struct Search {
  std::int64_t rank = 0;
  bool both = false;
  // At most `low_count` <= rank distances are <= low, `high_count` > rank are <= high.
  std::int64_t low = -1, high = highest, low_count = 0, high_count = 0;
  std::array<float, places> above{};  // what comes next above low if near, else above high

  // The answer is among the distances that come next above low; or all between the bounds are equal.
  [[nodiscard]] bool near() const { return rank + (both ? 1 : 0) - low_count < places; }
  [[nodiscard]] bool closed() const { return high - low <= 1; }

  void narrow(float threshold, std::int64_t count) {
    const std::int64_t at = bits_of(threshold);
    if (count <= rank && at > low) low = at, low_count = count;
    if (count > rank && at < high) high = at, high_count = count;
  }
  [[nodiscard]] Thresholds next(int pass) const;
  [[nodiscard]] double distance(double fraction) const;

  static constexpr std::int64_t highest = std::bit_cast<std::int32_t>(1e38F);
};

// Around the place where the rank would lie if distances were spread evenly between the bounds, as far off as chance
// would put it, a few distances apart at least. Where that does not converge, evenly over what numbers lie between.
Thresholds Search::next(int pass) const {
  const auto inside = static_cast<double>(high_count - low_count);
  const double place = static_cast<double>(rank - low_count) + 0.5;
  const double deviation = std::sqrt(place * (1 - place / inside));
  const double step = std::max(5.0 * deviation / (thresholds - 1), 0.5 * places);
  const bool even = high == highest || (pass > 3 && pass % 2 == 0);
  const double from = value_of(low), to = value_of(high);
  Thresholds t;
  for (std::size_t i = 0; i < thresholds; ++i) {
    const double part = (place + (static_cast<double>(i) - 0.5 * (thresholds - 1)) * step) / inside;
    t[i] = even ? value_of(low + (high - low) * static_cast<std::int64_t>(i + 1) / std::int64_t{thresholds + 1})
                : static_cast<float>(from + std::clamp(part, 0.0, 1.0) * (to - from));
  }
  for (float& v : t) v = value_of(std::clamp(bits_of(v), low + 1, high - 1));
  return t;
}

// `fraction` of the way from the order statistic to the next one.
double Search::distance(double fraction) const {
  const auto place = static_cast<std::size_t>(rank - low_count);
  const float lower = near() ? above[place] : value_of(high);
  const double d = std::sqrt(double{lower});
  if (!both) return d;
  const float upper = near() ? above[place + 1] : high_count == rank + 1 ? above[0] : value_of(high);
  return d + fraction * (std::sqrt(double{upper}) - d);
}

// Rows of the pooled sample of one problem.
struct Pool {
  ConstTensorView x, y;
  Problems px, py;
  [[nodiscard]] const float* row(std::int64_t problem, std::int64_t i) const {
    return i < px.rows ? x.data() + problem * px.problem_stride + i * px.row_stride
                       : y.data() + problem * py.problem_stride + (i - px.rows) * py.row_stride;
  }
};

// First thresholds: order statistics of some pairs drawn at random, about where the quantile lies among them.
Thresholds first_thresholds(const Pool& pool, std::int64_t problem, double q) {
  const std::int64_t n = pool.px.rows + pool.py.rows;
  const auto count = static_cast<std::size_t>(std::clamp<std::int64_t>(n * (n - 1) / 256, 32, 4096));
  std::vector<float> sample(count);
  std::uint64_t state = 0x9e3779b97f4a7c15ULL;
  const auto below = [&](std::int64_t end) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    return static_cast<std::int64_t>(((state >> 32U) * static_cast<std::uint64_t>(end)) >> 32U);
  };
  for (float& squared : sample) {
    const std::int64_t i = below(n), j = (i + 1 + below(n - 1)) % n;
    const float *a = pool.row(problem, i), *b = pool.row(problem, j);
    squared = 0;
    for (std::int64_t k = 0; k < pool.px.depth; ++k) squared += (a[k] - b[k]) * (a[k] - b[k]);
  }
  std::ranges::sort(sample);
  const auto size = static_cast<double>(count);
  const double spread = std::sqrt(std::max(q * (1 - q), 1 / size) * size);
  Thresholds t;
  for (std::size_t i = 0; i < thresholds; ++i) {
    const double offset = 5.0 * static_cast<double>(i) / (thresholds - 1) - 2.5;
    t[i] = sample[static_cast<std::size_t>(std::clamp(q * size + offset * spread, 0.0, size - 1))];
  }
  return t;
}

// What the passes over the pairs are handed.
struct Pairs {
  const Execution& execution;
  ConstTensorView first_view, second_view;
  Problems first, second;
  std::int32_t pooled;

  template <class... Args>
  void operator()(const Kernel& kernel, std::span<const std::int32_t> active, Args&&... args) const {
    kernel(execution, problems_buffer(Use::in, first_view, first), problems_buffer(Use::in, second_view, second),
           pooled, in(active), std::forward<Args>(args)...);
  }
};

// Where the normal law has the quantile q, to 0.02 or so between 0.001 and 0.999; a first guess of a place.
float normal_score(double q) {
  const double inside = std::clamp(q, 1e-4, 1 - 1e-4);
  return static_cast<float>((std::pow(inside, 0.135) - std::pow(1 - inside, 0.135)) / 0.1975);
}

// All of the search in one call; takes from `active` what it finished.
void select(const Pairs& pairs, double q, std::vector<Search>& search, std::vector<std::int32_t>& active) {
  static const Kernel kernel{"pair_distance_select"};
  constexpr std::int64_t width = 4 + places;
  std::vector<std::int32_t> found(active.size() * width);
  const Search& any = search.front();
  pairs(kernel, active, static_cast<std::int32_t>(any.rank), std::int32_t{any.both ? 2 : 1}, normal_score(q),
        Buffer(Use::out, found.data(), {width, static_cast<std::int64_t>(active.size())}, {1, width}));
  std::vector<std::int32_t> still;
  for (std::size_t a = 0; a < active.size(); ++a) {
    Search& s = search[static_cast<std::size_t>(active[a])];
    const std::int32_t* of = &found[a * width];
    s.low = of[0], s.high = of[1], s.low_count = of[2], s.high_count = of[3];
    for (std::size_t i = 0; i < places; ++i) s.above[i] = std::bit_cast<float>(of[4 + i]);
    if (!s.near() && !s.closed()) still.push_back(active[a]);
  }
  active.swap(still);
}

// Counting passes from the bounds that are known until all of `active` are near or closed.
void close_in(const Pairs& pairs, std::vector<Search>& search, std::vector<std::int32_t> active,
              std::vector<Thresholds> at) {
  static const Kernel kernel{"pair_distance_counts"};
  std::vector<std::int64_t> counts;
  for (int pass = 1; !active.empty(); ++pass) {
    const auto size = static_cast<std::int64_t>(active.size());
    constexpr auto t = static_cast<std::int64_t>(thresholds);
    counts.resize(active.size() * thresholds);
    pairs(kernel, active, Buffer(Use::in, at[0].data(), {t, size}, {1, t}),
          Buffer(Use::out, counts.data(), {t, size}, {1, t}));
    std::vector<std::int32_t> still;
    std::vector<Thresholds> closer;
    for (std::size_t a = 0; a < active.size(); ++a) {
      Search& s = search[static_cast<std::size_t>(active[a])];
      for (std::size_t i = 0; i < thresholds; ++i) s.narrow(at[a][i], counts[a * thresholds + i]);
      if (s.near() || s.closed()) continue;
      still.push_back(active[a]);
      closer.push_back(s.next(pass));
    }
    active.swap(still);
    at.swap(closer);
  }
}

// What comes next above the lower bound; above the upper one where the bounds closed over equal distances.
void find_next(const Pairs& pairs, std::vector<Search>& search, const std::vector<std::int32_t>& active) {
  static const Kernel kernel{"pair_distance_next"};
  std::vector<float> value, next(active.size() * places);
  for (const std::int32_t p : active) {
    const Search& s = search[static_cast<std::size_t>(p)];
    const std::int64_t above = s.near() ? s.low : s.high;
    value.push_back(above < 0 ? -1.0F : value_of(above));
  }
  pairs(kernel, active, in(std::span<const float>(value)),
        Buffer(Use::out, next.data(), {places, static_cast<std::int64_t>(active.size())}, {1, places}));
  for (std::size_t a = 0; a < active.size(); ++a) {
    Search& s = search[static_cast<std::size_t>(active[a])];
    std::copy_n(next.data() + a * places, places, s.above.begin());
  }
}

}  // namespace

void pair_distance_quantile(const Execution& execution, ConstTensorView x, ConstTensorView y, double q,
                            std::span<float> distances) {
  constexpr std::string_view name = "pair_distance_quantile";
  Pool pool{x, y, problems_of(name, "x", x), {}};
  const bool with_y = y.rank() != 0;
  if (with_y) {
    pool.py = problems_of(name, "y", y);
    if (pool.px.count != pool.py.count || pool.px.depth != pool.py.depth) {
      refuse(name, fmt::format("expected x and y of as many problems and coordinates, found {} and {}",
                               shape_string(x.shape()), shape_string(y.shape())));
    }
  }
  const std::int64_t rows = pool.px.rows + pool.py.rows, problems = pool.px.count;
  if (rows < 2) refuse(name, fmt::format("expected at least 2 rows in x and y together, found {}", rows));
  if (!(q >= 0 && q <= 1)) refuse(name, fmt::format("expected a quantile in [0, 1], found {}", q));
  expect_size(name, "distances", distances, problems);
  const Extent outputs[] = {extent_of("distances", distances)};
  const Extent inputs[] = {extent_of("x", x), with_y ? extent_of("y", y) : Extent{"y", nullptr, 0}};
  expect_apart(name, outputs, inputs);
  expect_coordinates(name, "x", x);
  if (with_y) expect_coordinates(name, "y", y);

  // A part without rows is replaced by the other one, of which no pair is then looked at twice.
  const bool x_first = pool.px.rows > 0, y_there = pool.py.rows > 0;
  const Problems& first = x_first ? pool.px : pool.py;
  const Problems& second = x_first && y_there ? pool.py : first;
  const ConstTensorView &first_view = x_first ? x : y, &second_view = x_first && y_there ? y : first_view;
  const auto pooled = static_cast<std::int32_t>(rows);

  const std::int64_t pairs = rows * (rows - 1) / 2;
  const double position = q * static_cast<double>(pairs - 1);
  const auto rank = static_cast<std::int64_t>(std::floor(position));
  const double fraction = position - static_cast<double>(rank);
  std::vector<Search> search(static_cast<std::size_t>(problems),
                             Search{.rank = rank, .both = fraction > 0, .high_count = pairs});

  const Pairs passes{execution, first_view, second_view, first, second, pooled};
  std::vector<std::int32_t> active(static_cast<std::size_t>(problems));
  std::iota(active.begin(), active.end(), 0);
  if (rows <= small_pool && !active.empty()) select(passes, q, search, active);
  if (!active.empty()) {
    std::vector<std::int32_t> far;
    std::vector<Thresholds> at;
    for (const std::int32_t p : active) {
      const Search& s = search[static_cast<std::size_t>(p)];
      if (s.near()) continue;
      far.push_back(p);
      at.push_back(s.low < 0 ? first_thresholds(pool, p, q) : s.next(1));
    }
    close_in(passes, search, std::move(far), std::move(at));
    find_next(passes, search, active);
  }
  for (std::size_t p = 0; p < search.size(); ++p) distances[p] = static_cast<float>(search[p].distance(fraction));
}

}  // namespace kindling::kernels
