#include "io/atomic_file.h"

#include <kindling/weights_file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <string>

#include "support/expect_error.h"
#include "support/temp_dir.h"

using namespace kindling;
using kindling::io::AtomicFile;
using kindling::test::expect_error;
using kindling::test::TempDir;

namespace {

using Names = std::vector<std::string>;

/// Limits the size of files this process may write, as a full disk would, and undoes it.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    handler_ = std::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &old_);
    rlimit limited = old_;
    limited.rlim_cur = bytes;
    ::setrlimit(RLIMIT_FSIZE, &limited);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &old_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit old_{};
  void (*handler_)(int) = nullptr;
};

}  // namespace

TEST_CASE("a committed file has all its bytes and its own name only", "[atomic_file]") {
  const TempDir dir;
  const std::string large(3'000'001, 'x');
  AtomicFile file(dir / "out");
  file.write("head");
  file.write(large);
  CHECK_FALSE(std::filesystem::exists(dir / "out"));
  file.commit();
  CHECK(dir.read("out") == "head" + large);
  CHECK(dir.list() == Names{"out"});
  expect_error(ErrorCode::file, {"out", "finished"}, [&] { file.write("more"); });
  expect_error(ErrorCode::file, {"out", "finished"}, [&] { file.commit(); });
}

TEST_CASE("an empty file can be written", "[atomic_file]") {
  const TempDir dir;
  AtomicFile(dir / "empty").commit();
  CHECK(dir.read("empty").empty());
}

TEST_CASE("the old file stands until the new one is complete, and keeps its permissions", "[atomic_file]") {
  const TempDir dir;
  dir.write("out", "old");
  ::chmod((dir / "out").c_str(), 0640);
  {
    AtomicFile file(dir / "out");
    file.write("new");
    CHECK(dir.read("out") == "old");
    CHECK(dir.list().size() == 2);
  }
  CHECK(dir.read("out") == "old");
  CHECK(dir.list() == Names{"out"});
  AtomicFile file(dir / "out");
  file.write("new");
  file.commit();
  CHECK(dir.read("out") == "new");
  struct stat status {};
  ::stat((dir / "out").c_str(), &status);
  CHECK((status.st_mode & 0777) == 0640);
}

TEST_CASE("an exception on the way leaves nothing behind", "[atomic_file]") {
  const TempDir dir;
  const auto interrupted = [&] {
    AtomicFile file(dir / "out");
    file.write(std::string(2'000'000, 'x'));
    throw Error(ErrorCode::interrupted, "interrupted");
  };
  expect_error(ErrorCode::interrupted, {}, interrupted);
  CHECK(dir.list().empty());
}

TEST_CASE("a symbolic link stays one and its file is replaced", "[atomic_file]") {
  const TempDir dir;
  std::filesystem::create_directory(dir / "sub");
  dir.write("sub/real", "old");
  std::filesystem::create_symlink("sub/real", dir / "link");
  AtomicFile file(dir / "link");
  file.write("new");
  file.commit();
  CHECK(std::filesystem::is_symlink(dir / "link"));
  CHECK(dir.read("sub/real") == "new");
  // a link to a file that is not there yet
  std::filesystem::create_symlink("sub/fresh", dir / "dangling");
  AtomicFile fresh(dir / "dangling");
  fresh.write("fresh");
  fresh.commit();
  CHECK(dir.read("sub/fresh") == "fresh");
}

TEST_CASE("targets that cannot be written are named with the cause", "[atomic_file]") {
  const TempDir dir;
  dir.write("plain", "content");
  std::filesystem::create_directory(dir / "folder");
  expect_error(ErrorCode::file, {"missing/out", "No such file"}, [&] { AtomicFile(dir / "missing/out"); });
  expect_error(ErrorCode::file, {"plain/out", "Not a directory"}, [&] { AtomicFile(dir / "plain/out"); });
  expect_error(ErrorCode::file, {"folder", "Is a directory"}, [&] { AtomicFile(dir / "folder"); });
  expect_error(ErrorCode::file, {"file name"}, [&] { AtomicFile(dir / "folder/"); });
  if (::geteuid() != 0) {  // root may write anywhere
    ::chmod((dir / "folder").c_str(), 0555);
    expect_error(ErrorCode::file, {"folder/out", "Permission denied"}, [&] { AtomicFile(dir / "folder/out"); });
    ::chmod((dir / "plain").c_str(), 0444);
    expect_error(ErrorCode::file, {"plain", "Permission denied"}, [&] { AtomicFile(dir / "plain"); });
  }
  CHECK(dir.list() == Names{"folder", "plain"});
  CHECK(dir.read("plain") == "content");
}

TEST_CASE("a device is written directly and its fullness reported", "[atomic_file]") {
  REQUIRE(std::filesystem::is_character_file("/dev/full"));
  expect_error(ErrorCode::file, {"/dev/full", "No space left"}, [] {
    AtomicFile file("/dev/full");
    file.write("text");
    file.commit();
  });
  CHECK(std::filesystem::is_character_file("/dev/full"));
  AtomicFile sink("/dev/null");
  sink.write("text");
  sink.commit();
  CHECK(std::filesystem::is_character_file("/dev/null"));
}

TEST_CASE("a disk that fills up in the middle leaves the old file and no other", "[atomic_file]") {
  const TempDir dir;
  dir.write("out.safetensors", "old");
  const Weights weights{{{"layers.0.weight", {1000, 1000}, std::vector<float>(1'000'000, 1.0F)}}, {}};
  for (const char* name : {"out.safetensors", "out.npz"}) {
    expect_error(ErrorCode::file, {name, "File too large"}, [&] {
      const FileSizeLimit limit(100'000);
      write_weights(dir / name, weights);
    });
  }
  CHECK(dir.list() == Names{"out.safetensors"});
  CHECK(dir.read("out.safetensors") == "old");
}
