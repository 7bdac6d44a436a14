#include "io/array.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <kindling/error.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <concepts>
#include <cstring>
#include <limits>
#include <utility>

namespace kindling::io {
namespace {

static_assert(std::endian::native == std::endian::little,
              "bytes are swapped on the assumption of a little-endian host");

constexpr std::size_t chunk_bytes = std::size_t{1} << 18;  // a multiple of every element size

struct Half {
  std::uint16_t bits;
};
struct BFloat {
  std::uint16_t bits;
};

float to_float(Half value) {
  const auto sign = static_cast<std::uint32_t>(value.bits & 0x8000U) << 16;
  const int exponent = (value.bits >> 10) & 31;
  const auto fraction = static_cast<std::uint32_t>(value.bits & 0x3ffU);
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000U | (fraction << 13));
  const float magnitude = exponent == 0 ? std::ldexp(static_cast<float>(fraction), -24)
                                        : std::ldexp(static_cast<float>(fraction + 1024U), exponent - 25);
  return sign != 0 ? -magnitude : magnitude;
}
float to_float(BFloat value) { return std::bit_cast<float>(static_cast<std::uint32_t>(value.bits) << 16); }
template <class T>
requires std::is_arithmetic_v<T>
float to_float(T value) { return static_cast<float>(value); }

/// The label, or -1 for a value that no int32 class number has.
template <class T>
std::int32_t to_label(T value) {
  if constexpr (std::integral<T>) {
    return std::in_range<std::int32_t>(value) && std::cmp_greater_equal(value, 0) ? static_cast<std::int32_t>(value)
                                                                                  : -1;
  } else if constexpr (std::floating_point<T>) {
    const bool fits = value >= 0 && value < 2147483648.0 && std::trunc(value) == value;
    return fits ? static_cast<std::int32_t>(value) : -1;
  } else {
    return to_label(to_float(value));
  }
}
template <class T>
std::string describe(T value) {
  if constexpr (std::is_arithmetic_v<T>) {
    return fmt::format("{}", value);
  } else {
    return fmt::format("{}", to_float(value));
  }
}

/// Calls `function` with a value-initialised object of the C++ type behind `type`.
template <class F>
void with_type(ElementType type, F&& function) {
  switch (type) {
    case ElementType::u8: return function(std::uint8_t{});
    case ElementType::i8: return function(std::int8_t{});
    case ElementType::u16: return function(std::uint16_t{});
    case ElementType::i16: return function(std::int16_t{});
    case ElementType::u32: return function(std::uint32_t{});
    case ElementType::i32: return function(std::int32_t{});
    case ElementType::u64: return function(std::uint64_t{});
    case ElementType::i64: return function(std::int64_t{});
    case ElementType::f16: return function(Half{});
    case ElementType::bf16: return function(BFloat{});
    case ElementType::f32: return function(float{});
    case ElementType::f64: return function(double{});
  }
}

std::string describe_array(const PendingArray& array) {
  return fmt::format("{} of {}", fmt::join(array.shape, " x "), element_name(array.type));
}

[[noreturn]] void fail_length(const PendingArray& array, std::uint64_t expected, const std::string& found) {
  throw Error(ErrorCode::bad_input,
              fmt::format("{}: expected {} bytes ({}, {} bytes of header included), found {}", array.where,
                          expected + array.header_bytes, describe_array(array), array.header_bytes, found));
}

/// Streams all elements through `take(pointer to T, count)`, in host byte order, and checks that the stream ends there.
template <class T, class F>
void stream_elements(PendingArray& array, std::int64_t count, F&& take) {
  std::array<std::byte, sizeof(T)> swapped{};
  std::vector<std::byte> chunk(
      static_cast<std::size_t>(std::min<std::uint64_t>(chunk_bytes, static_cast<std::uint64_t>(count) * sizeof(T))));
  const std::uint64_t expected = static_cast<std::uint64_t>(count) * sizeof(T);
  std::vector<T> values(chunk.size() / sizeof(T));
  for (std::uint64_t done = 0; done < expected;) {
    const auto part = static_cast<std::size_t>(std::min<std::uint64_t>(chunk.size(), expected - done));
    const std::size_t got = array.source->read(std::span(chunk).first(part));
    done += got;
    if (got < part) fail_length(array, expected, fmt::format("{} (truncated)", done + array.header_bytes));
    const std::size_t n = part / sizeof(T);
    if (array.big_endian && sizeof(T) > 1) {
      for (std::size_t i = 0; i < n; ++i) {
        std::reverse_copy(chunk.data() + i * sizeof(T), chunk.data() + (i + 1) * sizeof(T), swapped.data());
        std::memcpy(chunk.data() + i * sizeof(T), swapped.data(), sizeof(T));
      }
    }
    std::memcpy(static_cast<void*>(values.data()), chunk.data(), part);
    take(values.data(), n);
  }
  std::array<std::byte, 4096> extra{};
  if (const std::size_t more = array.source->read(extra); more > 0) {
    fail_length(array, expected, fmt::format("at least {} (trailing bytes)", expected + array.header_bytes + more));
  }
}

/// Reserves room, turning the allocator's exceptions into an error that names the array.
template <class T>
std::vector<T> room_for(const PendingArray& array, std::int64_t count) {
  try {
    std::vector<T> values;
    values.reserve(static_cast<std::size_t>(count));
    return values;
  } catch (const std::exception&) {
    throw Error(ErrorCode::bad_input,
                fmt::format("{}: {} does not fit into this machine's memory", array.where, describe_array(array)));
  }
}

template <class T>
std::vector<T> to_row_major(const std::vector<T>& values, const std::vector<std::int64_t>& shape) {
  std::vector<std::int64_t> stride(shape.size());
  std::int64_t step = 1;
  for (std::size_t d = 0; d < shape.size(); ++d) {
    stride[d] = step;
    step *= shape[d];
  }
  std::vector<T> rows(values.size());
  std::vector<std::int64_t> index(shape.size());
  std::int64_t from = 0;
  for (T& value : rows) {
    value = values[static_cast<std::size_t>(from)];
    for (std::size_t d = shape.size(); d-- > 0;) {
      from += stride[d];
      if (++index[d] < shape[d]) break;
      from -= stride[d] * shape[d];
      index[d] = 0;
    }
  }
  return rows;
}

std::vector<float> stream_floats(PendingArray& array, std::int64_t count) {
  auto floats = room_for<float>(array, count);
  with_type(array.type, [&]<class T>(T) {
    stream_elements<T>(array, count, [&](const T* values, std::size_t n) {
      std::transform(values, values + n, std::back_inserter(floats), [](T v) { return to_float(v); });
    });
  });
  if (array.fortran_order && array.shape.size() > 1) floats = to_row_major(floats, array.shape);
  return floats;
}

}  // namespace

std::size_t element_size(ElementType type) {
  std::size_t size = 0;
  with_type(type, [&]<class T>(T) { size = sizeof(T); });
  return size;
}

std::string_view element_name(ElementType type) {
  constexpr std::array<std::string_view, 12> names = {"uint8",  "int8",  "uint16",  "int16",    "uint32",  "int32",
                                                      "uint64", "int64", "float16", "bfloat16", "float32", "float64"};
  return names[static_cast<std::size_t>(type)];
}

std::int64_t checked_elements(const PendingArray& array) {
  // Counts stay below 2^63 / 8, so that no later product with an element size can overflow.
  constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max() / 8;
  std::int64_t count = 1;
  for (const std::int64_t extent : array.shape) {
    if (extent < 0) {
      throw Error(ErrorCode::bad_input, fmt::format("{}: negative extent in {}", array.where, describe_array(array)));
    }
  }
  if (std::ranges::count(array.shape, 0) > 0) count = 0;
  for (const std::int64_t extent : array.shape) {
    if (count != 0 && extent > most / count) {
      throw Error(ErrorCode::bad_input,
                  fmt::format("{}: {} is more than any file can hold; the largest possible file has {} bytes here",
                              array.where, describe_array(array), array.source->most()));
    }
    count *= extent;
  }
  const std::uint64_t bytes = static_cast<std::uint64_t>(count) * element_size(array.type);
  if (const auto size = array.source->size(); size.has_value() && *size != bytes + array.header_bytes) {
    fail_length(array, bytes,
                fmt::format("{} ({})", *size, *size < bytes + array.header_bytes ? "truncated" : "trailing bytes"));
  }
  if (const std::uint64_t limit = array.source->most(); bytes + array.header_bytes > limit) {
    fail_length(array, bytes, fmt::format("a compressed file that can hold {} at most (truncated)", limit));
  }
  return count;
}

std::vector<float> read_floats(PendingArray array) { return stream_floats(array, checked_elements(array)); }

Samples read_samples(PendingArray array) {
  if (array.shape.empty()) {
    throw Error(ErrorCode::bad_input,
                fmt::format("{}: samples have at least one dimension, found a scalar", array.where));
  }
  const std::int64_t count = checked_elements(array);
  Samples samples;
  samples.count = array.shape[0];
  samples.sample_shape.assign(array.shape.begin() + 1, array.shape.end());
  if (samples.sample_shape.empty()) samples.sample_shape = {1};
  // Two-dimensional samples are pictures of one channel.
  if (samples.sample_shape.size() == 2) samples.sample_shape.insert(samples.sample_shape.begin(), 1);
  if (samples.count == 0) throw Error(ErrorCode::bad_input, fmt::format("{}: zero samples", array.where));
  samples.features = count / samples.count;
  if (samples.features == 0) {
    throw Error(ErrorCode::bad_input,
                fmt::format("{}: samples without features ({})", array.where, describe_array(array)));
  }
  if (samples.sample_shape.size() > 3) samples.sample_shape = {samples.features};
  if (array.type != ElementType::u8) {
    samples.floats = stream_floats(array, count);
    return samples;
  }
  samples.bytes = room_for<std::uint8_t>(array, count);
  stream_elements<std::uint8_t>(array, count, [&](const std::uint8_t* values, std::size_t n) {
    samples.bytes.insert(samples.bytes.end(), values, values + n);
  });
  if (array.fortran_order && array.shape.size() > 1) samples.bytes = to_row_major(samples.bytes, array.shape);
  return samples;
}

std::vector<std::int32_t> read_labels(PendingArray array) {
  const bool column = array.shape.size() == 2 && array.shape[1] == 1;
  if (array.shape.size() != 1 && !column) {
    throw Error(ErrorCode::bad_input, fmt::format("{}: labels form a vector of class numbers, found rank {} ({})",
                                                  array.where, array.shape.size(), describe_array(array)));
  }
  const std::int64_t count = checked_elements(array);
  auto labels = room_for<std::int32_t>(array, count);
  with_type(array.type, [&]<class T>(T) {
    stream_elements<T>(array, count, [&](const T* values, std::size_t n) {
      for (std::size_t i = 0; i < n; ++i) {
        const std::int32_t label = to_label(values[i]);
        if (label < 0) {
          throw Error(ErrorCode::bad_input,
                      fmt::format("{}: label {} is {}; class numbers are integers from 0 to 2147483647", array.where,
                                  labels.size(), describe(values[i])));
        }
        labels.push_back(label);
      }
    });
  });
  return labels;
}

}  // namespace kindling::io
