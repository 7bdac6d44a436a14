// A numeric array in some file, before and while it is converted to what the library computes with.
#pragma once

#include <kindling/dataset.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/byte_source.h"

namespace kindling::io {

enum class ElementType { u8, i8, u16, i16, u32, i32, u64, i64, f16, bf16, f32, f64 };

std::size_t element_size(ElementType type);
/// "uint8", "float32", as numpy calls them.
std::string_view element_name(ElementType type);

/// An array that a file promises: what its header says, and the bytes that follow. Move-only; read once.
struct PendingArray {
  std::string where;  ///< for messages: the file's name, and the array's name in it
  std::vector<std::int64_t> shape;
  ElementType type = ElementType::f32;
  bool big_endian = false;
  bool fortran_order = false;      ///< the first index runs fastest
  std::uint64_t header_bytes = 0;  ///< bytes of the source before the elements, already read
  std::unique_ptr<ByteSource> source;
};

/// The product of `shape`, after checking that as many elements can stand in the source: exactly where its size is
/// known, as a bound where it is compressed. Throws Error{bad_input} with expected and found bytes.
std::int64_t checked_elements(const PendingArray& array);

/// All elements as float32. Throws Error{bad_input} for truncated or trailing bytes.
std::vector<float> read_floats(PendingArray array);
/// Samples without labels: the first index counts samples, the others are features. Unsigned bytes stay bytes. Errors
/// as read_floats.
Samples read_samples(PendingArray array);
/// Labels: rank 1, or rank 2 with one column; integers, or floats of integral value, that fit int32. Errors as
/// read_floats, and Error{bad_input} with the index of a label that is no class number.
std::vector<std::int32_t> read_labels(PendingArray array);

}  // namespace kindling::io
