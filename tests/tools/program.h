// Runs the built program as a person does and keeps what it said.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

namespace kindling::test {

struct Outcome {
  int status = 0;     ///< exit code; 1000 + signal number when a signal ended it
  std::string out;    ///< standard output
  std::string error;  ///< standard error
};

/// A started program. Output goes through files, so that it never waits for its reader.
class Program {
 public:
  /// `stdout_path`: where standard output goes instead; then Outcome::out is empty. `file_limit`: bytes that a file may
  /// grow to, as on a disk that fills up; 0: no limit.
  explicit Program(const std::vector<std::string>& arguments, const std::string& stdout_path = "",
                   std::size_t file_limit = 0);
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;
  ~Program();

  void signal(int number) const;
  /// Standard error so far.
  [[nodiscard]] std::string error_so_far() const;
  /// Waits until standard error holds `text`; fails the test when the program ends first or a minute has passed.
  void wait_for_error(const std::string& text);
  Outcome wait();

 private:
  bool poll(std::chrono::milliseconds pause);
  std::string folder_;
  pid_t pid_ = -1;
  int raw_status_ = 0;
};

/// Starts the program and waits for it.
Outcome run_program(const std::vector<std::string>& arguments, const std::string& stdout_path = "",
                    std::size_t file_limit = 0);

/// The run failed with that exit code, said nothing on standard output and, on standard error, one line
/// "kindling: error: ..." that holds all the parts (lines of progress may stand before it).
void check_failure(const Outcome& outcome, int status, const std::vector<std::string>& parts);

/// Twenty milliseconds of data: every run is short.
inline const std::string glyphs = "synthetic:glyphs:train=500,test=200";

}  // namespace kindling::test
