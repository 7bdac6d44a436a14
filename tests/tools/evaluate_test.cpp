#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "support/catch.h"
#include "support/temp_dir.h"
#include "tools/program.h"

using namespace kindling::test;

namespace {

std::vector<std::string> evaluation(const std::vector<std::string>& more) {
  std::vector<std::string> all{"evaluate", "binary-tasks", "--model",  "256-12-2", "--data",        glyphs, "--tasks",
                               "2",        "--n",          "2",        "3",        "--repetitions", "2",    "--epochs",
                               "2",        "--quiet",      "--methods"};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

const std::string learned = "mmd:perturbations=3,steps=4,window=2";
const std::string control = "mmd-control:perturbations=3,steps=4,window=2";

}  // namespace

TEST_CASE("evaluate binary-tasks tabulates, resumes and shares what was learned with the control", "[evaluate]") {
  const TempDir folder;
  const std::string file = (folder / "runs.jsonl").string(), cache = (folder / "cache").string();
  const std::vector<std::string> arguments = evaluation(
      {"xavier", learned, control, "random-label:steps=4", "--results", file, "--cache", cache, "--jobs", "2"});
  const Outcome run = run_program(arguments);
  INFO(run.error);
  REQUIRE(run.status == 0);
  for (const char* part : {"N=2", "N=3", "256-12-2", "standard deviation over tasks", "mean less that of xavier",
                           "mean less that of its control", "2 tasks, 2 repetitions"}) {
    INFO(part);
    CHECK(run.out.find(part) != std::string::npos);
  }
  const std::string lines = folder.read("runs.jsonl");
  CHECK(std::count(lines.begin(), lines.end(), '\n') == 4 * 2 * 2);
  std::size_t checkpoints = 0;
  for (const auto& entry : std::filesystem::directory_iterator(cache)) checkpoints += entry.is_regular_file() ? 1 : 0;
  CHECK(checkpoints == 2);
  std::vector<std::string> json = arguments;
  json.push_back("--json");
  const Outcome again = run_program(json);
  REQUIRE(again.status == 0);
  CHECK(folder.read("runs.jsonl") == lines);
  const auto parsed = nlohmann::json::parse(again.out);
  CHECK(parsed.at("table").size() == 8);
  for (const auto& r : parsed.at("runs")) {
    CHECK(r.at("resumed").get<bool>());
    for (const auto& accuracy : r.at("accuracy")) {
      CHECK(accuracy.get<double>() >= 0);
      CHECK(accuracy.get<double>() <= 1);
    }
  }
  // A line that a crash cut off is dropped and run again, with the same result.
  std::filesystem::resize_file(file, lines.size() - 10);
  const Outcome repaired = run_program(
      evaluation({"xavier", learned, control, "random-label:steps=4", "--results", file, "--threads", "1"}));
  REQUIRE(repaired.status == 0);
  CHECK(repaired.out.find("cut") != std::string::npos);
  const auto accuracy = [](const std::string& text) {
    const std::string whole = text.substr(0, text.size() - 1);
    return nlohmann::json::parse(whole.substr(whole.rfind('\n') + 1)).at("accuracy");
  };
  CHECK(accuracy(folder.read("runs.jsonl")) == accuracy(lines));
}

TEST_CASE("evaluate binary-tasks refuses what it cannot do", "[evaluate]") {
  const TempDir folder;
  check_failure(run_program({"evaluate"}), 2, {"subcommand"});
  check_failure(run_program({"evaluate", "binary-tasks", "--methods", "he"}), 2, {"--data"});
  check_failure(run_program(evaluation({"he", "he"})), 2, {"he", "twice"});
  check_failure(run_program(evaluation({"he", "--model", "256-12-10"})), 2, {"2 outputs", "10"});
  check_failure(run_program(evaluation({"he", "--n", "100000"})), 3, {"100000", "class"});
  check_failure(run_program(evaluation({"he", "--n", "0"})), 2, {"n", "0"});
  check_failure(run_program(evaluation({"he", "--jobs", "0"})), 2, {"jobs"});
  const std::string notes = folder.write("notes.txt", "buy milk\n").string();
  check_failure(run_program(evaluation({"he", "--results", notes})), 3, {"notes.txt", "line 1"});
  CHECK(folder.read("notes.txt") == "buy milk\n");
}
