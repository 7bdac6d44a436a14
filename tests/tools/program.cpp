#include "tools/program.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <thread>

#include "support/catch.h"

namespace kindling::test {
namespace {

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void redirect(int descriptor, const std::string& path) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  if (file < 0 || ::dup2(file, descriptor) < 0) ::_exit(99);
}

}  // namespace

Program::Program(const std::vector<std::string>& arguments, const std::string& stdout_path, std::size_t file_limit) {
  folder_ = (std::filesystem::temp_directory_path() / "kindling-program-XXXXXX").string();
  if (::mkdtemp(folder_.data()) == nullptr) throw std::runtime_error("no temporary folder: " + folder_);
  std::vector<std::string> words{KINDLING_PROGRAM};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const std::string out = stdout_path.empty() ? folder_ + "/out" : stdout_path;
  pid_ = ::fork();
  if (pid_ < 0) throw std::runtime_error("fork failed");
  if (pid_ == 0) {
    // A test run in the background inherits an ignored Ctrl-C.
    std::signal(SIGINT, SIG_DFL);
    std::signal(SIGTERM, SIG_DFL);
    if (file_limit > 0) {
      const rlimit limit{file_limit, file_limit};
      if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) ::_exit(97);
    }
    redirect(STDOUT_FILENO, out);
    redirect(STDERR_FILENO, folder_ + "/error");
    ::execv(argv[0], argv.data());
    ::_exit(98);
  }
}

Program::~Program() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

void Program::signal(int number) const {
  if (pid_ > 0) ::kill(pid_, number);
}

std::string Program::error_so_far() const { return read_file(folder_ + "/error"); }

bool Program::poll(std::chrono::milliseconds pause) {
  if (pid_ <= 0) return true;
  if (::waitpid(pid_, &raw_status_, WNOHANG) == pid_) {
    pid_ = -1;
    return true;
  }
  std::this_thread::sleep_for(pause);
  return false;
}

void Program::wait_for_error(const std::string& text) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (error_so_far().find(text) == std::string::npos) {
    if (poll(std::chrono::milliseconds(1)) || std::chrono::steady_clock::now() > end) {
      FAIL("the program never wrote '" << text << "' but: " << error_so_far());
    }
  }
}

Outcome Program::wait() {
  const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(2);
  while (!poll(std::chrono::milliseconds(2))) {
    if (std::chrono::steady_clock::now() > end) FAIL("the program does not end; it wrote: " << error_so_far());
  }
  const int status = WIFEXITED(raw_status_) ? WEXITSTATUS(raw_status_) : 1000 + WTERMSIG(raw_status_);
  return {status, read_file(folder_ + "/out"), error_so_far()};
}

Outcome run_program(const std::vector<std::string>& arguments, const std::string& stdout_path, std::size_t file_limit) {
  return Program(arguments, stdout_path, file_limit).wait();
}

void check_failure(const Outcome& outcome, int status, const std::vector<std::string>& parts) {
  INFO("standard error: " << outcome.error);
  CHECK(outcome.status == status);
  CHECK(outcome.out.empty());
  const std::string mark = "kindling: error: ";
  const std::size_t start = outcome.error.rfind(mark);
  REQUIRE(start != std::string::npos);
  const std::string message = outcome.error.substr(start);
  CHECK(message.find('\n') == message.size() - 1);
  CHECK(outcome.error.find(mark) == start);
  for (const std::string& part : parts) {
    INFO("expected in the message: " << part);
    CHECK(message.find(part) != std::string::npos);
  }
}

}  // namespace kindling::test
