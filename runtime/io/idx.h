// IDX files, the format of MNIST (http://yann.lecun.com/exdb/mnist/): two zero bytes, an element type, the number of
// dimensions, big-endian 32-bit extents, big-endian elements.
#pragma once

#include <filesystem>

#include "io/array.h"

namespace kindling::io {

/// Opens a raw or gzip-packed IDX file and reads its header. Throws Error{file} or Error{bad_input}.
PendingArray open_idx(const std::filesystem::path& path);

/// The four MNIST-style files in `folder`, if `train-images-idx*` is there in one of its spellings; a raw file is
/// preferred to a packed one of the same name. Adds to `train` and `test` samples and labels. Returns false when none
/// of the four is there; throws Error{file} naming what was looked for when only some are. `looked_for` gets the names.
bool read_idx_folder(const std::filesystem::path& folder, Samples& train, Samples& test, std::string& looked_for);

}  // namespace kindling::io
