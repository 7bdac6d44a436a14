#include "io/atomic_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <kindling/error.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <system_error>

namespace kindling::io {
namespace {

constexpr std::size_t buffer_bytes = std::size_t{1} << 20;

std::filesystem::path follow_link(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::path target = path;
  // A link may point to a name that does not exist yet, which canonical() refuses; 40 is the kernel's own limit.
  for (int hops = 0; hops < 40 && std::filesystem::is_symlink(target, error); ++hops) {
    const std::filesystem::path next = std::filesystem::read_symlink(target, error);
    if (error) break;
    target = next.is_absolute() ? next : target.parent_path() / next;
  }
  return target;
}

}  // namespace

AtomicFile::AtomicFile(const std::filesystem::path& path) : path_(path), target_(follow_link(path)) {
  if (path.filename().empty()) {
    throw Error(ErrorCode::file, fmt::format("cannot write '{}': a file name was expected", path.string()));
  }
  struct stat status {};
  const bool exists = ::stat(target_.c_str(), &status) == 0;
  if (exists && S_ISDIR(status.st_mode)) fail("cannot write", EISDIR);
  if (exists && !S_ISREG(status.st_mode)) {
    descriptor_ = ::open(target_.c_str(), O_WRONLY | O_CLOEXEC);
    if (descriptor_ < 0) fail("cannot write", errno);
    return;
  }
  // Replacing a file takes no right on the file itself; somebody who took the right to write away did mean it.
  if (exists && ::access(target_.c_str(), W_OK) != 0) fail("cannot write", errno);
  static std::atomic<unsigned> counter{0};
  do {
    temporary_ = target_;
    temporary_ += fmt::format(".tmp-{}-{}", ::getpid(), counter++);
    descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  } while (descriptor_ < 0 && errno == EEXIST);
  if (descriptor_ < 0) {
    const int error = errno;
    temporary_.clear();
    fail("cannot write", error);
  }
  if (exists && ::fchmod(descriptor_, status.st_mode & 07777) != 0) {
    const int error = errno;
    close_and_remove();
    fail("cannot keep the permissions of", error);
  }
}

AtomicFile::~AtomicFile() { close_and_remove(); }

void AtomicFile::write(std::span<const std::byte> bytes) {
  if (descriptor_ < 0) throw Error(ErrorCode::file, fmt::format("'{}' was already finished", path_.string()));
  while (!bytes.empty()) {
    const std::size_t part = std::min(bytes.size(), buffer_bytes - buffer_.size());
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(part));
    bytes = bytes.subspan(part);
    if (buffer_.size() == buffer_bytes) flush();
  }
}

void AtomicFile::flush() {
  std::size_t done = 0;
  while (done < buffer_.size()) {
    const ssize_t written = ::write(descriptor_, buffer_.data() + done, buffer_.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      const int error = errno;
      close_and_remove();
      fail("cannot write", error);
    }
    done += static_cast<std::size_t>(written);
  }
  buffer_.clear();
}

void AtomicFile::commit() {
  if (descriptor_ < 0) throw Error(ErrorCode::file, fmt::format("'{}' was already finished", path_.string()));
  flush();
  // Pipes and terminals have nothing to synchronise and say EINVAL.
  if (::fsync(descriptor_) != 0 && !temporary_.empty()) {
    const int error = errno;
    close_and_remove();
    fail("cannot write", error);
  }
  const int closed = ::close(descriptor_);
  const int close_error = errno;
  descriptor_ = -1;
  if (closed != 0) {
    close_and_remove();
    fail("cannot write", close_error);
  }
  if (temporary_.empty()) return;
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) {
    const int error = errno;
    close_and_remove();
    fail("cannot replace", error);
  }
  temporary_.clear();
  // The new name reaches the disk with its folder. The content is complete either way, so that a file system that
  // cannot do this is no error.
  const std::filesystem::path folder = target_.has_parent_path() ? target_.parent_path() : std::filesystem::path(".");
  const int folder_descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder_descriptor >= 0) {
    (void)::fsync(folder_descriptor);
    ::close(folder_descriptor);
  }
}

void AtomicFile::close_and_remove() noexcept {
  if (descriptor_ >= 0) ::close(descriptor_);
  descriptor_ = -1;
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
  temporary_.clear();
}

void AtomicFile::fail(const std::string& what, int error) const {
  throw Error(ErrorCode::file,
              fmt::format("{} '{}': {}", what, path_.string(), std::generic_category().message(error)));
}

}  // namespace kindling::io
