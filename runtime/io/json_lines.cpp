#include "io/json_lines.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <kindling/error.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace kindling::io {
namespace {

// Several processes may append to one file; each line goes in whole.
class FileLock {
 public:
  explicit FileLock(int descriptor) : descriptor_(descriptor) {
    while (::flock(descriptor_, LOCK_EX) != 0 && errno == EINTR) {
    }
  }
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;
  ~FileLock() { (void)::flock(descriptor_, LOCK_UN); }

 private:
  int descriptor_;
};

}  // namespace

JsonLines::JsonLines(std::string path, const Reader& read) : path_(std::move(path)) {
  descriptor_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (descriptor_ < 0) fail("cannot open the results file", errno);
  struct stat status {};
  regular_ = ::fstat(descriptor_, &status) == 0 && S_ISREG(status.st_mode);
  try {
    if (regular_) read_all(read);
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

JsonLines::~JsonLines() { ::close(descriptor_); }

void JsonLines::fail(const std::string& what, int error) const {
  throw Error(ErrorCode::file, fmt::format("{} '{}': {}", what, path_, std::generic_category().message(error)));
}

void JsonLines::read_all(const Reader& read) {
  const FileLock lock(descriptor_);
  std::string content;
  std::string part(std::size_t{1} << 16U, '\0');
  off_t offset = 0;
  while (true) {
    const ssize_t got = ::pread(descriptor_, part.data(), part.size(), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail("cannot read the results file", errno);
    if (got == 0) break;
    content.append(part.data(), static_cast<std::size_t>(got));
    offset += got;
  }
  std::size_t number = 0;
  std::size_t start = 0;
  for (std::size_t end = content.find('\n'); end != std::string::npos; end = content.find('\n', start)) {
    read(std::string_view(content).substr(start, end - start), ++number);
    start = end + 1;
  }
  if (start == content.size()) return;
  // Every line is written at once with its end, so a line without one was cut off by a crash. A file without a single
  // whole line may be somebody else's.
  if (start == 0 && !content.starts_with("{\"")) {
    throw Error(ErrorCode::bad_input, fmt::format("'{}' is not a results file: a line of JSON expected", path_));
  }
  cut_ = fmt::format("line {} of '{}' was cut off while it was written ({} bytes); that run is repeated", number + 1,
                     path_, content.size() - start);
  if (::ftruncate(descriptor_, static_cast<off_t>(start)) != 0) fail("cannot drop the cut last line of", errno);
}

void JsonLines::append(std::string_view text) {
  const std::string line = std::string(text) + "\n";
  const FileLock lock(descriptor_);
  struct stat before {};
  if (::fstat(descriptor_, &before) != 0) fail("cannot write the results file", errno);
  std::size_t done = 0;
  int error = 0;
  while (done < line.size() && error == 0) {
    const ssize_t written = ::write(descriptor_, line.data() + done, line.size() - done);
    if (written >= 0) done += static_cast<std::size_t>(written);
    if (written < 0 && errno != EINTR) error = errno;
  }
  if (error == 0 && regular_ && ::fsync(descriptor_) != 0) error = errno;
  if (error == 0) return;
  if (regular_ && ::ftruncate(descriptor_, before.st_size) != 0) {
    fail(fmt::format("a write failed ({}) and its part could not be taken back from",
                     std::generic_category().message(error)),
         errno);
  }
  fail("cannot write the results file", error);
}

}  // namespace kindling::io
