#include "tools/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "tools/text_table.h"

namespace kindling::tools {
namespace {

constexpr auto redraw_interval = std::chrono::milliseconds(80);
constexpr auto line_interval = std::chrono::seconds(60);
constexpr int bar_width = 20;

bool is_terminal() {
  const char* term = std::getenv("TERM");
  return isatty(STDERR_FILENO) != 0 && term != nullptr && std::string_view(term) != "dumb";
}

std::size_t terminal_columns() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

double share(const Progress& p) {
  return p.total > 0 ? std::clamp(static_cast<double>(p.done) / static_cast<double>(p.total), 0.0, 1.0) : 0.0;
}

}  // namespace

ProgressPrinter::ProgressPrinter(bool quiet, Lines lines) : quiet_(quiet), lines_(lines), terminal_(is_terminal()) {}

void ProgressPrinter::show(const Progress& progress) {
  if (quiet_ || (!terminal_ && lines_ == Lines::none)) return;
  const auto now = Clock::now();
  const bool new_stage = progress.stage != stage_;
  // Stages may share one count of steps; the estimate of the time left runs on over them.
  if (progress.total != total_ || progress.done < last_done_) {
    total_ = progress.total;
    first_done_ = progress.done;
    first_time_ = now;
  }
  last_done_ = progress.done;
  stage_ = progress.stage;
  const auto interval = terminal_                ? Clock::duration(redraw_interval)
                        : lines_ == Lines::every ? Clock::duration::zero()
                                                 : Clock::duration(line_interval);
  const bool last_redraw = terminal_ && progress.done == progress.total;
  if (!new_stage && !last_redraw && now - last_shown_ < interval) return;
  last_shown_ = now;
  if (terminal_)
    redraw(progress);
  else
    print_line(progress);
}

std::string ProgressPrinter::remaining(const Progress& progress) const {
  if (progress.total <= 0 || progress.done <= first_done_ || progress.done >= progress.total) return "";
  const double spent = std::chrono::duration<double>(Clock::now() - first_time_).count();
  const auto left = static_cast<double>(progress.total - progress.done);
  return fmt::format("{} left", duration_text(spent * left / static_cast<double>(progress.done - first_done_)));
}

void ProgressPrinter::redraw(const Progress& progress) {
  std::string line = progress.stage;
  if (progress.total > 0) {
    const int filled = static_cast<int>(share(progress) * bar_width);
    line += fmt::format("  [{}{}] {:3.0f} %", std::string(static_cast<std::size_t>(filled), '#'),
                        std::string(static_cast<std::size_t>(bar_width - filled), '.'), 100 * share(progress));
  }
  if (const std::string left = remaining(progress); !left.empty()) line += "  " + left;
  if (!progress.detail.empty()) line += "  " + progress.detail;
  // A line that wraps cannot be redrawn.
  line.resize(std::min(line.size(), terminal_columns() - 1));
  fmt::print(stderr, "\r\x1b[K{}", line);
  std::fflush(stderr);
  drawn_ = true;
}

void ProgressPrinter::print_line(const Progress& progress) {
  std::string line = progress.stage;
  if (progress.total > 0) line += fmt::format(" {}/{}", progress.done, progress.total);
  if (!progress.detail.empty()) line += ": " + progress.detail;
  if (const std::string left = remaining(progress); !left.empty()) line += ", " + left;
  fmt::print(stderr, "{}\n", line);
}

void ProgressPrinter::clear() {
  if (!drawn_) return;
  fmt::print(stderr, "\r\x1b[K");
  std::fflush(stderr);
  drawn_ = false;
}

}  // namespace kindling::tools
