// Progress on standard error: one line redrawn on a terminal, plain lines elsewhere.
#pragma once

#include <kindling/context.h>

#include <chrono>
#include <string>

namespace kindling::tools {

class ProgressPrinter {
 public:
  enum class Lines {
    none,     ///< silent unless standard error is a terminal
    every,    ///< a line for every report
    by_stage  ///< a line when the stage changes, and once a minute
  };
  ProgressPrinter(bool quiet, Lines lines);
  ProgressPrinter(const ProgressPrinter&) = delete;
  ProgressPrinter& operator=(const ProgressPrinter&) = delete;
  ~ProgressPrinter() { clear(); }

  void show(const Progress& progress);
  /// Takes the redrawn line away, so that something else can be printed.
  void clear();

 private:
  using Clock = std::chrono::steady_clock;
  void redraw(const Progress& progress);
  void print_line(const Progress& progress);
  [[nodiscard]] std::string remaining(const Progress& progress) const;

  bool quiet_;
  Lines lines_;
  bool terminal_;
  bool drawn_ = false;
  std::string stage_;
  std::int64_t total_ = -1;
  std::int64_t last_done_ = 0;
  std::int64_t first_done_ = 0;  // where the clock of the estimate starts
  Clock::time_point first_time_;
  Clock::time_point last_shown_;
};

}  // namespace kindling::tools
