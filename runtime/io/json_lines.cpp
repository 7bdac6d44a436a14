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

JsonLines::JsonLines(const std::string& path) : path_(path) {
  descriptor_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (descriptor_ < 0) fail("cannot open");
  struct stat status {};
  regular_ = ::fstat(descriptor_, &status) == 0 && S_ISREG(status.st_mode);
  if (!regular_) return;
  std::string content(static_cast<std::size_t>(status.st_size), '\0');
  std::size_t done = 0;
  while (done < content.size()) {
    const ssize_t got = ::pread(descriptor_, content.data() + done, content.size() - done, static_cast<off_t>(done));
    if (got < 0 && errno != EINTR) fail("cannot read");
    if (got == 0) content.resize(done);
    if (got > 0) done += static_cast<std::size_t>(got);
  }
  std::size_t start = 0;
  for (std::size_t end = content.find('\n'); end != std::string::npos; end = content.find('\n', start)) {
    lines_.push_back(content.substr(start, end - start));
    start = end + 1;
  }
  if (start == content.size()) return;
  if (start == 0 && content.front() != '{') {
    ::close(descriptor_);
    descriptor_ = -1;
    throw Error(ErrorCode::bad_input, fmt::format("'{}' is not a results file: a line of JSON expected", path));
  }
  cut_ = true;
  if (::ftruncate(descriptor_, static_cast<off_t>(start)) != 0) fail("cannot drop the cut last line of");
}

JsonLines::~JsonLines() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void JsonLines::fail(const char* what) const {
  const int error = errno;
  throw Error(ErrorCode::file, fmt::format("{} '{}': {}", what, path_, std::generic_category().message(error)));
}

void JsonLines::append(std::string_view line) {
  const std::string text = std::string(line) + "\n";
  ::flock(descriptor_, LOCK_EX);
  struct stat before {};
  int error = ::fstat(descriptor_, &before) == 0 ? 0 : errno;
  std::size_t done = 0;
  while (error == 0 && done < text.size()) {
    const ssize_t written = ::write(descriptor_, text.data() + done, text.size() - done);
    if (written >= 0) done += static_cast<std::size_t>(written);
    if (written < 0 && errno != EINTR) error = errno;
  }
  if (error == 0 && regular_ && ::fsync(descriptor_) != 0) error = errno;
  if (error != 0 && regular_ && done > 0 && ::ftruncate(descriptor_, before.st_size) != 0) error = errno;
  ::flock(descriptor_, LOCK_UN);
  errno = error;
  if (error != 0) fail("cannot write");
}

}  // namespace kindling::io
