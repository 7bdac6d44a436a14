#include "io/idx.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <kindling/error.h>

#include <array>

namespace kindling::io {
namespace {

ElementType idx_type(std::byte code, const std::string& where) {
  switch (std::to_integer<int>(code)) {
    case 0x08: return ElementType::u8;
    case 0x09: return ElementType::i8;
    case 0x0B: return ElementType::i16;
    case 0x0C: return ElementType::i32;
    case 0x0D: return ElementType::f32;
    case 0x0E: return ElementType::f64;
    default: break;
  }
  throw Error(ErrorCode::bad_input,
              fmt::format("{}: IDX element type 0x08, 0x09 or 0x0B to 0x0E expected, found {:#04x}", where,
                          std::to_integer<int>(code)));
}

/// The dimension digit in the standard names is the rank of the usual content; the files themselves say what they hold.
std::vector<std::string> spellings(const std::string& stem, int rank) {
  std::vector<std::string> names;
  for (const char* packing : {"", ".gz"}) {
    for (const char separator : {'-', '.'})
      names.push_back(fmt::format("{}{}idx{}-ubyte{}", stem, separator, rank, packing));
  }
  return names;
}

}  // namespace

PendingArray open_idx(const std::filesystem::path& path) {
  PendingArray array;
  array.where = fmt::format("'{}'", path.string());
  array.source = open_maybe_gzip(path);
  array.big_endian = true;
  std::array<std::byte, 4> magic{};
  if (const std::size_t got = array.source->read(magic); got < magic.size()) {
    throw Error(ErrorCode::bad_input,
                fmt::format("{}: an IDX header of at least 4 bytes expected, found {} bytes", array.where, got));
  }
  if (magic[0] != std::byte{0} || magic[1] != std::byte{0}) {
    throw Error(ErrorCode::bad_input,
                fmt::format("{}: not an IDX file: two zero bytes expected at its start, found {:#04x} {:#04x}",
                            array.where, std::to_integer<int>(magic[0]), std::to_integer<int>(magic[1])));
  }
  array.type = idx_type(magic[2], array.where);
  const auto rank = std::to_integer<std::size_t>(magic[3]);
  if (rank == 0) throw Error(ErrorCode::bad_input, fmt::format("{}: an IDX file with no dimensions", array.where));
  std::vector<std::byte> extents(rank * 4);
  array.header_bytes = magic.size() + extents.size();
  if (const std::size_t got = array.source->read(extents); got < extents.size()) {
    throw Error(ErrorCode::bad_input,
                fmt::format("{}: an IDX header of {} bytes ({} dimensions) expected, found {} bytes", array.where,
                            array.header_bytes, rank, got + magic.size()));
  }
  for (std::size_t d = 0; d < rank; ++d) {
    std::int64_t extent = 0;
    for (std::size_t i = 0; i < 4; ++i) extent = extent << 8 | std::to_integer<std::int64_t>(extents[4 * d + i]);
    array.shape.push_back(extent);
  }
  return array;
}

bool read_idx_folder(const std::filesystem::path& folder, Samples& train, Samples& test, std::string& looked_for) {
  const std::array<std::vector<std::string>, 4> names = {spellings("train-images", 3), spellings("train-labels", 1),
                                                         spellings("t10k-images", 3), spellings("t10k-labels", 1)};
  std::array<std::filesystem::path, 4> found;
  std::vector<std::string> missing;
  for (std::size_t i = 0; i < names.size(); ++i) {
    for (const std::string& name : names[i]) {
      if (found[i].empty() && std::filesystem::exists(folder / name)) found[i] = folder / name;
    }
    if (found[i].empty())
      missing.push_back(
          fmt::format("{} (or {})", names[i].front(), fmt::join(names[i].begin() + 1, names[i].end(), ", ")));
  }
  looked_for = fmt::format("{}", fmt::join(missing, "; "));
  if (missing.size() == names.size()) return false;
  if (!missing.empty()) {
    throw Error(ErrorCode::file, fmt::format("'{}': IDX files are missing: {}", folder.string(), looked_for));
  }
  const auto read_split = [&](std::size_t images, Samples& split) {
    split = read_samples(open_idx(found[images]));
    split.labels = read_labels(open_idx(found[images + 1]));
    if (static_cast<std::int64_t>(split.labels.size()) != split.count) {
      throw Error(ErrorCode::bad_input,
                  fmt::format("'{}' holds {} samples but '{}' holds {} labels", found[images].string(), split.count,
                              found[images + 1].string(), split.labels.size()));
    }
  };
  read_split(0, train);
  read_split(2, test);
  return true;
}

}  // namespace kindling::io
