#include "report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "peak.h"
#include "peers/peers.h"

namespace kindling::bench {
namespace {

using Line = std::vector<std::string>;

std::string duration(double seconds) {
  if (seconds < 1e-3) return fmt::format("{:.3g} us", seconds * 1e6);
  if (seconds < 1) return fmt::format("{:.3g} ms", seconds * 1e3);
  return fmt::format("{:.3g} s", seconds);
}

std::string timing(const RowResult& row) {
  if (!row.error.empty()) return "refused (1)";
  return fmt::format("{} ({})", duration(row.median), duration(row.best));
}

std::string rate(const ComparisonResult& r, const RowResult& row) {
  if (r.work.flops > 0) return fmt::format("{:.1f} GFLOP/s", r.work.flops / row.best * 1e-9);
  if (r.work.bytes > 0) return fmt::format("{:.1f} GB/s", r.work.bytes / row.best * 1e-9);
  if (r.work.items > 0) return fmt::format("{:.3g} M/s", r.work.items / row.best * 1e-6);
  return "";
}

// Columns as wide as their widest cell; code points, not bytes, count.
std::string render(const std::vector<Line>& lines, TableStyle style) {
  std::vector<std::size_t> widths(lines.front().size(), 3);
  const auto width = [](const std::string& s) {
    return static_cast<std::size_t>(std::count_if(s.begin(), s.end(), [](char c) { return (c & 0xC0) != 0x80; }));
  };
  for (const Line& line : lines) {
    for (std::size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], width(line[i]));
  }
  std::string text;
  const char* edge = style == TableStyle::markdown ? "| " : "";
  const char* between = style == TableStyle::markdown ? " | " : "  ";
  for (std::size_t n = 0; n < lines.size(); ++n) {
    text += edge;
    for (std::size_t i = 0; i < lines[n].size(); ++i) {
      text += lines[n][i] + std::string(widths[i] - width(lines[n][i]), ' ') + (i + 1 < lines[n].size() ? between : "");
    }
    text += style == TableStyle::markdown ? " |\n" : "\n";
    if (n == 0 && style == TableStyle::markdown) {
      for (const std::size_t w : widths) text += "|" + std::string(w + 2, '-');
      text += "|\n";
    }
  }
  return text;
}

std::string goal_text(const ComparisonResult& r, const RowResult& row) {
  std::string text;
  bool reached = true;
  if (r.goal.ratio > 0 && r.best_peer() != nullptr) {
    text = fmt::format("ratio ≥ {:.3g}", r.goal.ratio);
    reached = r.ratio(row) >= r.goal.ratio;
  } else if (r.goal.ratio > 0 && r.goal.of_peak == 0) {
    return fmt::format("ratio ≥ {:.3g}: no peer was timed", r.goal.ratio);
  }
  if (r.goal.of_peak > 0) {
    text += fmt::format("{}of peak ≥ {:.2f}", text.empty() ? "" : ", ", r.goal.of_peak);
    reached = reached && r.of_peak(row) >= r.goal.of_peak;
  }
  return text.empty() ? "" : text + (reached ? ": reached" : ": falls short");
}

struct MeanRatio {
  double log_sum = 0;
  int count = 0;
};

std::string kernel_table(const std::string& kernel, const std::vector<const ComparisonResult*>& results,
                         TableStyle style) {
  std::vector<std::string> peer_names;
  for (const ComparisonResult* r : results) {
    for (const RowResult& row : r->rows) {
      if (row.peer && std::find(peer_names.begin(), peer_names.end(), row.name) == peer_names.end())
        peer_names.push_back(row.name);
    }
  }
  Line head{"shape", "threads", "contestant", "median (best)", "best rate", "of peak"};
  for (const std::string& name : peer_names) {
    const bool apart = std::any_of(results.begin(), results.end(), [&](const ComparisonResult* r) {
      return std::any_of(r->rows.begin(), r->rows.end(),
                         [&](const RowResult& row) { return row.name == name && !row.interleaved; });
    });
    head.push_back(apart ? name + " (own process)" : name);
  }
  head.insert(head.end(), {"ratio to best peer", "goal"});
  std::vector<Line> lines{head};
  std::string notes;
  std::map<std::pair<std::string, int>, MeanRatio> means;
  for (const ComparisonResult* r : results) {
    const RowResult* best = r->best_peer();
    for (const RowResult& row : r->rows) {
      if (!row.error.empty())
        notes += fmt::format("(1) {}/{}/{}/threads:{}: {}\n", r->kernel, row.name, r->shape, r->threads, row.error);
      std::string counters;
      for (const auto& [name, value] : row.counters)
        counters += fmt::format("{}{} {:.4g}", counters.empty() ? "" : ", ", name, value);
      if (!counters.empty())
        notes += fmt::format("{} {} threads:{} {}: {}\n", r->kernel, r->shape, r->threads, row.name, counters);
      if (row.peer) continue;
      const bool timed = row.error.empty();
      const double share = r->of_peak(row);
      const double ratio = r->ratio(row);
      Line line{r->shape,
                std::to_string(r->threads),
                row.name,
                timing(row),
                timed ? rate(*r, row) : "",
                share > 0 ? fmt::format("{:.2f} of {:.0f}", share, r->limit_best * 1e-9) : ""};
      for (const std::string& name : peer_names) {
        const auto peer =
            std::find_if(r->rows.begin(), r->rows.end(), [&](const RowResult& p) { return p.peer && p.name == name; });
        line.push_back(peer == r->rows.end() ? "" : timing(*peer));
      }
      line.push_back(ratio > 0 ? fmt::format("{:.2f} ({})", ratio, best->name) : "");
      line.push_back(goal_text(*r, row));
      lines.push_back(std::move(line));
      if (ratio > 0) {
        MeanRatio& mean = means[{row.name, r->threads}];
        mean.log_sum += std::log(ratio);
        ++mean.count;
      }
    }
  }
  std::string text = style == TableStyle::markdown ? fmt::format("### {}\n\n", kernel) : fmt::format("{}\n", kernel);
  text += render(lines, style);
  if (style == TableStyle::markdown) text += "\n";
  const char* bullet = style == TableStyle::markdown ? "- " : "  ";
  for (const auto& [key, mean] : means) {
    if (mean.count < 2) continue;
    text += fmt::format("{}geometric mean of the ratios, {} on threads:{}: {:.3f} over {} shapes\n", bullet, key.first,
                        key.second, std::exp(mean.log_sum / mean.count), mean.count);
  }
  std::size_t start = 0;
  while (start < notes.size()) {
    const std::size_t end = notes.find('\n', start);
    text += bullet + notes.substr(start, end - start) + "\n";
    start = end + 1;
  }
  return text + "\n";
}

}  // namespace

std::string table(const std::vector<ComparisonResult>& results, TableStyle style) {
  std::vector<std::string> kernels;
  for (const ComparisonResult& r : results) {
    if (std::find(kernels.begin(), kernels.end(), r.kernel) == kernels.end()) kernels.push_back(r.kernel);
  }
  std::string text;
  for (const std::string& kernel : kernels) {
    std::vector<const ComparisonResult*> group;
    for (const ComparisonResult& r : results) {
      if (r.kernel == kernel) group.push_back(&r);
    }
    text += kernel_table(kernel, group, style);
  }
  return text;
}

std::string summary(const ComparisonResult& r) {
  std::string text = fmt::format("{} {} threads:{}", r.kernel, r.shape, r.threads);
  for (const RowResult& row : r.rows) {
    if (!row.error.empty()) {
      text += fmt::format("; {}: {}", row.name, row.error);
      continue;
    }
    text += fmt::format("; {} {}", row.name, timing(row));
    if (!row.peer && r.ratio(row) > 0) text += fmt::format(", ratio {:.2f}", r.ratio(row));
    if (!row.peer && r.of_peak(row) > 0) text += fmt::format(", of peak {:.2f}", r.of_peak(row));
  }
  return text;
}

std::vector<std::string> machine_description() {
  std::string processor = "unknown processor";
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("model name")) {
      processor = line.substr(line.find(':') + 2);
      break;
    }
  }
  std::vector<std::string> lines{fmt::format("{}, {} threads, widest multiply-add {}", processor, available_threads(),
                                             multiply_add_isas().back())};
  for (const PeerRow& row : peers()) {
    lines.push_back(
        fmt::format("peer {}: {}", row.name,
                    row.peer != nullptr ? row.peer->version() : "not built, because " + row.absent_because));
  }
  return lines;
}

std::string json(const std::vector<ComparisonResult>& results, const std::vector<MissingPeer>& missing, int rounds) {
  nlohmann::ordered_json document;
  document["context"] = {{"version", KINDLING_VERSION}, {"rounds", rounds}, {"machine", machine_description()}};
  for (const MissingPeer& m : missing) {
    document["missing_peers"].push_back({{"kernel", m.kernel}, {"peer", m.peer}, {"reason", m.reason}});
  }
  document["rows"] = nlohmann::ordered_json::array();
  for (const ComparisonResult& r : results) {
    for (const RowResult& row : r.rows) {
      nlohmann::ordered_json j;
      j["name"] = fmt::format("{}/{}/{}/threads:{}", r.kernel, row.name, r.shape, r.threads);
      j["kernel"] = r.kernel;
      j["contestant"] = row.name;
      j["peer"] = row.peer;
      j["shape"] = r.shape;
      j["threads"] = r.threads;
      if (!row.error.empty()) {
        j["error"] = row.error;
        document["rows"].push_back(j);
        continue;
      }
      j["median_seconds"] = row.median;
      j["best_seconds"] = row.best;
      if (r.work.flops > 0) j["flops"] = r.work.flops / row.best;
      if (r.work.bytes > 0) j["bytes"] = r.work.bytes / row.best;
      if (r.work.items > 0) j["items"] = r.work.items / row.best;
      if (r.limit_best > 0) {
        j["of_peak"] = r.of_peak(row);
        j["peak_median"] = r.limit_median;
        j["peak_best"] = r.limit_best;
      }
      if (!row.peer && r.best_peer() != nullptr) {
        j["best_peer"] = r.best_peer()->name;
        j["ratio_to_best_peer"] = r.ratio(row);
      }
      for (const auto& [name, value] : row.counters) j["counters"][name] = value;
      document["rows"].push_back(j);
    }
  }
  return document.dump(2) + "\n";
}

int merge_rows(const std::string& path, std::vector<ComparisonResult>& results) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error(fmt::format("cannot read '{}'", path));
  int placed = 0;
  try {
    const auto document = nlohmann::json::parse(file);
    for (const auto& row : document.at("rows")) {
      if (row.contains("error")) continue;
      for (ComparisonResult& r : results) {
        if (r.kernel != row.at("kernel") || r.shape != row.at("shape") || r.threads != row.at("threads")) continue;
        r.rows.push_back({.name = row.at("contestant"),
                          .peer = true,
                          .error = {},
                          .median = row.at("median_seconds"),
                          .best = row.at("best_seconds"),
                          .counters = {},
                          .interleaved = false});
        ++placed;
      }
    }
  } catch (const nlohmann::json::exception& e) {
    throw std::runtime_error(fmt::format("'{}' is not a file of benchmark rows: {}", path, e.what()));
  }
  return placed;
}

}  // namespace kindling::bench
