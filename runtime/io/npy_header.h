// The header of numpy's .npy format (numpy.lib.format): a Python dictionary literal with descr, fortran_order and
// shape.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/array.h"

namespace kindling::io {

struct NpyHeader {
  ElementType type = ElementType::f32;
  bool big_endian = false;
  bool fortran_order = false;
  std::vector<std::int64_t> shape;
};

/// Parses the dictionary. Throws Error{bad_input} that begins with `where`; pickled objects, structures, strings,
/// booleans and complex numbers are refused.
NpyHeader parse_npy_header(const std::string& text, const std::string& where);

/// Reads magic, version (1, 2 or 3) and dictionary from array.source and fills the array's description. array.where and
/// array.source are set before. Throws Error{bad_input}.
void read_npy_header(PendingArray& array);

/// Magic, version 1.0 and dictionary of a little-endian float32 array in C order, padded to a multiple of 64 bytes.
std::string npy_float_header(const std::vector<std::int64_t>& shape);

}  // namespace kindling::io
