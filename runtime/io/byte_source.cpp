#include "io/byte_source.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <kindling/error.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>
#include <vector>

namespace kindling::io {
namespace {

[[noreturn]] void fail_file(const std::filesystem::path& path, int error) {
  throw Error(ErrorCode::file,
              fmt::format("cannot read '{}': {}", path.string(), std::generic_category().message(error)));
}

class FileSource final : public ByteSource {
 public:
  FileSource(const std::filesystem::path& path, std::uint64_t offset, std::optional<std::uint64_t> length)
      : path_(path), descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
    if (descriptor_ < 0) fail_file(path, errno);
    try {
      struct stat status {};
      if (::fstat(descriptor_, &status) != 0) fail_file(path, errno);
      if (S_ISDIR(status.st_mode)) fail_file(path, EISDIR);
      if (!S_ISREG(status.st_mode)) {
        throw Error(ErrorCode::file, fmt::format("cannot read '{}': a regular file was expected", path.string()));
      }
      const auto bytes = static_cast<std::uint64_t>(status.st_size);
      size_ = offset > bytes ? 0 : std::min(length.value_or(bytes - offset), bytes - offset);
      left_ = size_;
      if (offset > 0 && ::lseek(descriptor_, static_cast<off_t>(offset), SEEK_SET) < 0) fail_file(path, errno);
    } catch (...) {
      ::close(descriptor_);
      throw;
    }
  }
  FileSource(const FileSource&) = delete;
  FileSource& operator=(const FileSource&) = delete;
  ~FileSource() override { ::close(descriptor_); }

  std::size_t read(std::span<std::byte> out) override {
    const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), left_));
    std::size_t done = 0;
    while (done < wanted) {
      const ssize_t got = ::read(descriptor_, out.data() + done, wanted - done);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) fail_file(path_, errno);
      if (got == 0) break;  // the file shrank since it was opened
      done += static_cast<std::size_t>(got);
    }
    left_ -= done;
    return done;
  }
  std::optional<std::uint64_t> size() const override { return size_; }
  std::uint64_t most() const override { return size_; }

 private:
  std::filesystem::path path_;
  int descriptor_;
  std::uint64_t size_ = 0;
  std::uint64_t left_ = 0;
};

class GzipSource final : public ByteSource {
 public:
  explicit GzipSource(const std::filesystem::path& path) : path_(path), file_(path, 0, std::nullopt), input_(1U << 18) {
    // 15: the largest window; 16: a gzip header and trailer, whose checksum inflate verifies.
    if (inflateInit2(&stream_, 15 + 16) != Z_OK) {
      throw Error(ErrorCode::file, fmt::format("cannot unpack '{}': zlib has no memory", path.string()));
    }
  }
  GzipSource(const GzipSource&) = delete;
  GzipSource& operator=(const GzipSource&) = delete;
  ~GzipSource() override { inflateEnd(&stream_); }

  std::size_t read(std::span<std::byte> out) override {
    std::size_t done = 0;
    while (done < out.size() && !finished_) {
      if (stream_.avail_in == 0) refill();
      const auto part = static_cast<uInt>(std::min<std::size_t>(out.size() - done, 1U << 30));
      stream_.next_out = reinterpret_cast<Bytef*>(out.data() + done);
      stream_.avail_out = part;
      const int status = inflate(&stream_, Z_NO_FLUSH);
      done += part - stream_.avail_out;
      if (status == Z_STREAM_END) {
        next_member();
      } else if (status != Z_OK && status != Z_BUF_ERROR) {
        throw Error(ErrorCode::bad_input, fmt::format("'{}': corrupt gzip data: {}", path_.string(),
                                                      stream_.msg != nullptr ? stream_.msg : "unknown damage"));
      } else if (at_end_ && stream_.avail_in == 0 && stream_.avail_out > 0) {
        throw Error(ErrorCode::bad_input,
                    fmt::format("'{}': truncated gzip data: the file ends after {} bytes, inside the "
                                "compressed stream",
                                path_.string(), file_.most()));
      }
    }
    return done;
  }
  std::optional<std::uint64_t> size() const override { return std::nullopt; }
  std::uint64_t most() const override { return file_.most() * largest_deflate_ratio; }

 private:
  void refill() {
    const std::size_t got = file_.read(input_);
    at_end_ = got < input_.size();
    stream_.next_in = reinterpret_cast<Bytef*>(input_.data());
    stream_.avail_in = static_cast<uInt>(got);
  }
  void next_member() {
    if (stream_.avail_in == 0 && !at_end_) refill();
    if (stream_.avail_in == 0) {
      finished_ = true;
    } else if (*stream_.next_in != 0x1f) {
      throw Error(ErrorCode::bad_input, fmt::format("'{}': trailing bytes after the gzip data", path_.string()));
    } else {
      inflateReset(&stream_);
    }
  }

  std::filesystem::path path_;
  FileSource file_;
  std::vector<std::byte> input_;
  z_stream stream_{};
  bool at_end_ = false;
  bool finished_ = false;
};

}  // namespace

std::unique_ptr<ByteSource> open_file(const std::filesystem::path& path, std::uint64_t offset,
                                      std::optional<std::uint64_t> length) {
  return std::make_unique<FileSource>(path, offset, length);
}

std::unique_ptr<ByteSource> open_maybe_gzip(const std::filesystem::path& path) {
  std::array<std::byte, 2> magic{};
  if (FileSource(path, 0, 2).read(magic) == 2 && magic[0] == std::byte{0x1f} && magic[1] == std::byte{0x8b}) {
    return std::make_unique<GzipSource>(path);
  }
  return std::make_unique<FileSource>(path, 0, std::nullopt);
}

}  // namespace kindling::io
