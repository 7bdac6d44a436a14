// CIFAR-10's binary version (https://www.cs.toronto.edu/~kriz/cifar.html): records of one label byte and 3072 bytes, a
// red, a green and a blue plane of 32 x 32.
#pragma once

#include <kindling/dataset.h>

#include <filesystem>
#include <string>

namespace kindling::io {

/// The batches in `folder`: those of data_batch_1.bin .. data_batch_5.bin that are there, in this order, and
/// test_batch.bin. Returns false when no such file is there (`looked_for` gets the names); throws Error{file} when only
/// the training or only the test part is there, Error{bad_input} for a file that is empty or no multiple of 3073 bytes.
bool read_cifar_folder(const std::filesystem::path& folder, Samples& train, Samples& test, std::string& looked_for);

}  // namespace kindling::io
