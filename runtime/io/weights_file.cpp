#include <fmt/format.h>
#include <fmt/ranges.h>
#include <kindling/error.h>
#include <kindling/weights_file.h>
#include <zip.h>

#include <algorithm>
#include <array>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "io/array.h"
#include "io/atomic_file.h"
#include "io/npy_header.h"
#include "io/npz.h"
#include "io/safetensors.h"

namespace kindling {
namespace {

using nlohmann::json;

/// The tensors by name, after checking them.
std::vector<const NamedTensor*> sorted(const std::filesystem::path& path, const Weights& weights) {
  std::vector<const NamedTensor*> tensors;
  std::set<std::string_view> names;
  for (const NamedTensor& t : weights.tensors) {
    if (t.name.empty() || t.name == "__metadata__" || t.name.find('\0') != std::string::npos) {
      throw Error(ErrorCode::usage,
                  fmt::format("'{}': tensor names other than '' and '__metadata__', without NUL, expected, found '{}'",
                              path.string(), t.name));
    }
    if (!names.insert(t.name).second)
      throw Error(ErrorCode::usage, fmt::format("'{}': two tensors named '{}'", path.string(), t.name));
    std::int64_t count = 1;
    for (const std::int64_t extent : t.shape) {
      if (extent < 0)
        throw Error(ErrorCode::usage, fmt::format("'{}': tensor '{}' has a negative extent", path.string(), t.name));
      if (__builtin_mul_overflow(count, extent, &count)) count = -1;
    }
    if (count != static_cast<std::int64_t>(t.data.size())) {
      throw Error(ErrorCode::usage, fmt::format("'{}': tensor '{}' has the shape ({}) but {} elements", path.string(),
                                                t.name, fmt::join(t.shape, ", "), t.data.size()));
    }
    tensors.push_back(&t);
  }
  std::ranges::sort(tensors, {}, &NamedTensor::name);
  return tensors;
}

/// Compact, with sorted keys; Error{usage} for text that is not UTF-8.
std::string dump(const std::filesystem::path& path, const json& value) {
  try {
    return value.dump();
  } catch (const json::exception& error) {
    throw Error(ErrorCode::usage,
                fmt::format("'{}': names and metadata in UTF-8 expected: {}", path.string(), error.what()));
  }
}

struct FreeSource {
  void operator()(zip_source_t* source) const { zip_source_free(source); }
};
using Source = std::unique_ptr<zip_source_t, FreeSource>;

struct DiscardArchive {
  void operator()(zip_t* archive) const { zip_discard(archive); }
};

[[noreturn]] void fail_zip(const std::filesystem::path& path, const std::string& what) {
  throw Error(ErrorCode::file, fmt::format("cannot write '{}': {}", path.string(), what));
}

/// Builds the archive in memory; libzip's own files are not written as AtomicFile writes them.
Source build_archive(const std::filesystem::path& path, const std::vector<const NamedTensor*>& tensors,
                     const std::string& comment) {
  zip_error_t error;
  zip_error_init(&error);
  Source memory(zip_source_buffer_create(nullptr, 0, 0, &error));
  if (!memory) fail_zip(path, zip_error_strerror(&error));
  std::unique_ptr<zip_t, DiscardArchive> archive(zip_open_from_source(memory.get(), ZIP_CREATE | ZIP_TRUNCATE, &error));
  if (!archive) fail_zip(path, zip_error_strerror(&error));
  zip_source_keep(memory.get());  // the archive owns one reference, this function the other
  zip_t* const zip = archive.get();
  std::vector<std::string> headers;
  for (const NamedTensor* t : tensors) headers.push_back(io::npy_float_header(t->shape));
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const NamedTensor& t = *tensors[i];
    std::array<zip_buffer_fragment_t, 2> parts{};
    parts[0] = {reinterpret_cast<zip_uint8_t*>(headers[i].data()), headers[i].size()};
    // libzip reads through these pointers only, whatever their type says.
    parts[1] = {reinterpret_cast<zip_uint8_t*>(const_cast<float*>(t.data.data())), t.data.size() * sizeof(float)};
    Source content(zip_source_buffer_fragment_create(parts.data(), t.data.empty() ? 1 : 2, 0, &error));
    if (!content) fail_zip(path, zip_error_strerror(&error));
    const zip_int64_t index = zip_file_add(zip, (t.name + ".npy").c_str(), content.get(), ZIP_FL_ENC_UTF_8);
    if (index < 0) fail_zip(path, zip_strerror(zip));
    (void)content.release();  // the archive's now
    constexpr zip_uint16_t noon = 12U << 11U;
    constexpr zip_uint16_t first_dos_day = 1U << 5U | 1U;  // 1980-01-01
    if (zip_set_file_compression(zip, static_cast<zip_uint64_t>(index), ZIP_CM_STORE, 0) != 0 ||
        zip_file_set_dostime(zip, static_cast<zip_uint64_t>(index), noon, first_dos_day, 0) != 0) {
      fail_zip(path, zip_strerror(zip));
    }
  }
  if (!comment.empty() &&
      zip_set_archive_comment(zip, comment.data(), static_cast<zip_uint16_t>(comment.size())) != 0) {
    fail_zip(path, zip_strerror(zip));
  }
  if (zip_close(zip) != 0) fail_zip(path, zip_strerror(zip));
  (void)archive.release();
  return memory;
}

template <class File>
Weights read_all(const File& file) {
  Weights weights;
  for (const std::string& name : file.names()) {
    io::PendingArray array = file.open(name);
    NamedTensor tensor{name, array.shape, {}};
    tensor.data = io::read_floats(std::move(array));
    weights.tensors.push_back(std::move(tensor));
  }
  return weights;
}

}  // namespace

const NamedTensor* Weights::find(const std::string& name) const {
  const auto found = std::ranges::find(tensors, name, &NamedTensor::name);
  return found == tensors.end() ? nullptr : &*found;
}

void write_safetensors(const std::filesystem::path& path, const Weights& weights) {
  const auto tensors = sorted(path, weights);
  json header = json::object();
  if (!weights.metadata.empty()) header["__metadata__"] = weights.metadata;
  std::uint64_t offset = 0;
  for (const NamedTensor* t : tensors) {
    const std::uint64_t end = offset + t->data.size() * sizeof(float);
    header[t->name] = {{"dtype", "F32"}, {"shape", t->shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = dump(path, header);
  text.append((8 - text.size() % 8) % 8, ' ');  // keeps the data aligned for readers that map the file
  std::string length;
  for (int i = 0; i < 8; ++i) length += static_cast<char>(static_cast<std::uint64_t>(text.size()) >> (8 * i) & 0xff);
  io::AtomicFile file(path);
  file.write(length);
  file.write(text);
  for (const NamedTensor* t : tensors) file.write(std::span<const float>(t->data));
  file.commit();
}

void write_npz(const std::filesystem::path& path, const Weights& weights) {
  const auto tensors = sorted(path, weights);
  for (const NamedTensor* t : tensors) (void)dump(path, t->name);
  const std::string comment = weights.metadata.empty() ? "" : dump(path, weights.metadata);
  if (comment.size() > 65535) {
    throw Error(ErrorCode::usage, fmt::format("'{}': an .npz file holds 65,535 bytes of metadata at most, found {}",
                                              path.string(), comment.size()));
  }
  io::AtomicFile file(path);
  if (tensors.empty()) {
    // libzip writes nothing for an archive without members; this is its end record: 18 zero bytes, the comment's
    // length.
    std::string record = "PK\x05\x06" + std::string(16, '\0');
    record += static_cast<char>(comment.size() & 0xff);
    record += static_cast<char>(comment.size() >> 8);
    file.write(record + comment);
    file.commit();
    return;
  }
  const Source archive = build_archive(path, tensors, comment);
  if (zip_source_open(archive.get()) != 0) fail_zip(path, zip_error_strerror(zip_source_error(archive.get())));
  std::vector<std::byte> chunk(std::size_t{1} << 18);
  while (true) {
    const zip_int64_t got = zip_source_read(archive.get(), chunk.data(), chunk.size());
    if (got < 0) fail_zip(path, zip_error_strerror(zip_source_error(archive.get())));
    if (got == 0) break;
    file.write(std::span<const std::byte>(chunk).first(static_cast<std::size_t>(got)));
  }
  zip_source_close(archive.get());
  file.commit();
}

void write_weights(const std::filesystem::path& path, const Weights& weights) {
  if (path.extension() == ".safetensors") return write_safetensors(path, weights);
  if (path.extension() == ".npz") return write_npz(path, weights);
  throw Error(ErrorCode::usage,
              fmt::format("a weights file named *.safetensors or *.npz expected, found '{}'", path.string()));
}

Weights read_safetensors(const std::filesystem::path& path) {
  const io::SafetensorsFile file(path);
  Weights weights = read_all(file);
  weights.metadata = file.metadata();
  return weights;
}

Weights read_npz(const std::filesystem::path& path) {
  const io::NpzFile file(path);
  Weights weights = read_all(file);
  // Any archive may carry a comment; only a JSON object of strings is ours.
  const json comment = json::parse(file.comment(), nullptr, false);
  if (comment.is_object() && std::ranges::all_of(comment, [](const json& value) { return value.is_string(); })) {
    weights.metadata = comment.get<std::map<std::string, std::string>>();
  }
  return weights;
}

Weights read_weights(const std::filesystem::path& path) {
  return io::is_zip(path) ? read_npz(path) : read_safetensors(path);
}

}  // namespace kindling
