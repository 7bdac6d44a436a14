#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "support/catch.h"
#include "support/temp_dir.h"
#include "tools/program.h"

using namespace kindling::test;

namespace {

std::vector<std::string> comparison(const std::vector<std::string>& more) {
  std::vector<std::string> all{"compare", "--model", "256-12-10", "--data", glyphs, "--epochs", "1", "--seeds", "2"};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

std::vector<std::string> with_methods(const std::vector<std::string>& more) {
  std::vector<std::string> all{"--methods", "xavier", "ibci:k=2"};
  all.insert(all.end(), more.begin(), more.end());
  return comparison(all);
}

}  // namespace

TEST_CASE("compare prints one table with controls", "[compare]") {
  const Outcome run = run_program(with_methods({"--jobs", "2", "--quiet"}));
  INFO(run.error);
  REQUIRE(run.status == 0);
  CHECK(run.error.empty());
  for (const char* part : {"256-12-10", " 1  xavier", " 2  ibci:k=2", "ibci-control:k=2  (control)", "min†",
                           "optimistic", "init s", "difference", "Holm over the table's 2 comparisons"}) {
    INFO(part);
    CHECK(run.out.find(part) != std::string::npos);
  }
  const Outcome plain = run_program(with_methods({"--no-controls", "--quiet", "--metric", "min"}));
  REQUIRE(plain.status == 0);
  CHECK(plain.out.find("control:") == std::string::npos);
  CHECK(plain.out.find("the minimum test error") != std::string::npos);
}

TEST_CASE("compare --curve-at prints a second table", "[compare]") {
  const Outcome run = run_program(with_methods({"--no-controls", "--quiet", "--curve-at", "0,2"}));
  INFO(run.error);
  REQUIRE(run.status == 0);
  const std::size_t table = run.out.find("training accuracy % after steps");
  REQUIRE(table != std::string::npos);
  CHECK(run.out.find("ibci:k=2", table) != std::string::npos);
  check_failure(run_program(with_methods({"--quiet", "--curve-at", "2,1"})), 2, {"curve", "1 after 2"});
}

TEST_CASE("compare with one seed has no intervals", "[compare]") {
  const Outcome run = run_program({"compare", "--model", "256-10", "--methods", "xavier", "he", "--data", glyphs,
                                   "--epochs", "1", "--seeds", "1", "--seed", "4", "--quiet"});
  REQUIRE(run.status == 0);
  CHECK(run.out.find("± n/a") != std::string::npos);
  CHECK(run.out.find("Holm over the table's 0 comparisons") != std::string::npos);
}

TEST_CASE("compare --json holds table and runs, and a results file spares the second time", "[compare]") {
  const TempDir folder;
  const std::string file = (folder / "runs.jsonl").string();
  const auto run = [&] {
    const Outcome outcome = run_program(with_methods({"--json", "--quiet", "--results", file, "--validation", "0.2"}));
    REQUIRE(outcome.status == 0);
    return nlohmann::json::parse(outcome.out);
  };
  const auto first = run();
  CHECK(first.at("metric") == "chosen");
  CHECK(first.at("table").size() == 3);
  CHECK(first.at("runs").size() == 6);
  CHECK(first.at("seeds") == nlohmann::json({0, 1}));
  CHECK(first.at("data").at("validation") == 100);
  CHECK(first.at("table").at(1).at("difference").at("reference") == "ibci-control:k=2");
  CHECK_FALSE(first.at("table").at(0).contains("difference"));
  auto again = run();
  CHECK(again.at("table") == first.at("table"));
  for (const auto& r : again.at("runs")) CHECK(r.at("resumed").get<bool>());
  CHECK(again.at("notes").size() == 1);
}

TEST_CASE("a disk that fills up leaves whole lines in the results file", "[compare]") {
  const TempDir folder;
  const std::string file = (folder / "runs.jsonl").string();
  const std::vector<std::string> arguments = with_methods({"--results", file, "--quiet", "--no-controls"});
  REQUIRE(run_program(arguments).status == 0);
  const std::string whole = folder.read("runs.jsonl");
  const std::size_t first_line = whole.find('\n') + 1;
  std::filesystem::remove(file);
  check_failure(run_program(arguments, "", first_line + 100), 5, {"runs.jsonl", "File too large"});
  const std::string kept = folder.read("runs.jsonl");
  CHECK(kept.size() <= first_line + 100);
  CHECK(std::count(kept.begin(), kept.end(), '\n') == 1);
  CHECK(kept.back() == '\n');
  REQUIRE(run_program(arguments).status == 0);
  CHECK(folder.read("runs.jsonl").starts_with(kept));
}

TEST_CASE("compare refuses what it cannot do", "[compare]") {
  const TempDir folder;
  check_failure(run_program({"compare", "--methods", "he", "--model", "256-10"}), 2, {"--data"});
  check_failure(run_program({"compare", "--methods", "he", "--data", glyphs}), 2, {"--model"});
  check_failure(run_program(comparison({"--methods", "he", "he"})), 2, {"he", "twice"});
  check_failure(run_program(comparison({"--methods", "he", "magic"})), 2, {"magic"});
  check_failure(run_program(comparison({"--methods", "he", "--metric", "best"})), 2, {"metric", "best"});
  check_failure(run_program(comparison({"--methods", "he", "--metric", "chosen"})), 2, {"validation"});
  for (const char* seeds : {"0", "-1", "3,", "3,x", "many"}) {
    check_failure(run_program({"compare", "--model", "256-10", "--methods", "he", "--data", glyphs, "--seeds", seeds}),
                  2, {"--seeds", seeds});
  }
  check_failure(run_program(comparison({"--methods", "he", "--jobs", "0"})), 2, {"jobs"});
  check_failure(run_program(comparison({"--methods", "he", "--reach", "2"})), 2, {"reach", "2"});
  check_failure(run_program(comparison({"--methods", "he", "--model", "100-10"})), 3, {"100", "256"});
  const std::string notes = folder.write("notes.txt", "buy milk\n").string();
  check_failure(run_program(comparison({"--methods", "he", "--results", notes})), 3, {"notes.txt", "line 1"});
  CHECK(folder.read("notes.txt") == "buy milk\n");
  check_failure(run_program(comparison({"--methods", "he", "--results", "/dev/full"})), 5,
                {"/dev/full", "No space left"});
  check_failure(run_program(comparison({"--methods", "he", "--results", "/no/such/file"})), 5, {"/no/such/file"});
}
