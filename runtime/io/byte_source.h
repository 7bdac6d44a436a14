// Where the bytes of an array come from: a file, a gzip stream, a member of an archive.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>

namespace kindling::io {

/// A stream of bytes, read once from front to back. Errors of the medium throw Error{file}, damage (a checksum, a
/// broken compressed stream) throws Error{bad_input}; both name the file.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  /// Fills `out` from its start; fewer bytes than asked for only at the end of the stream. Reading at the end
  /// verifies the checksum of a compressed stream.
  [[nodiscard]] virtual std::size_t read(std::span<std::byte> out) = 0;
  /// Bytes of the whole stream, where that is known beforehand.
  [[nodiscard]] virtual std::optional<std::uint64_t> size() const = 0;
  /// A bound on the bytes of the whole stream, so that nobody reserves memory for what cannot come.
  [[nodiscard]] virtual std::uint64_t most() const = 0;
};

/// Deflate cannot expand its input by more than this factor (zlib's technical notes: 1032).
constexpr std::uint64_t largest_deflate_ratio = 1032;

/// A file, or `length` of its bytes from `offset` on. Throws Error{file} when it cannot be opened.
std::unique_ptr<ByteSource> open_file(const std::filesystem::path& path, std::uint64_t offset = 0,
                                      std::optional<std::uint64_t> length = std::nullopt);
/// A file as it stands or, when it begins with gzip's magic bytes, unpacked. Several gzip members in a row are one
/// stream.
std::unique_ptr<ByteSource> open_maybe_gzip(const std::filesystem::path& path);

}  // namespace kindling::io
