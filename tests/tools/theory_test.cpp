#include <nlohmann/json.hpp>

#include "support/catch.h"
#include "support/temp_dir.h"
#include "tools/program.h"

using namespace kindling::test;

TEST_CASE("theory phase-diagram tells fixed points, phases and boundaries", "[theory]") {
  const Outcome text = run_program(
      {"theory", "phase-diagram", "--k", "100", "--weight-variance", "1.5,2.5,3.5", "--bias-variance", "0.1"});
  INFO(text.error);
  REQUIRE(text.status == 0);
  for (const char* part : {"2.92", "ordered", "chaotic", "diverging", "0.5755"}) {
    INFO(part);
    CHECK(text.out.find(part) != std::string::npos);
  }
  const Outcome run = run_program({"theory", "phase-diagram", "--activation", "tanh", "--weight-variance", "0.5:2:0.5",
                                   "--bias-variance", "0.05", "--json"});
  REQUIRE(run.status == 0);
  const auto json = nlohmann::json::parse(run.out);
  CHECK(json.at("points").size() == 4);
  CHECK(json.at("length_boundary").is_null());
  CHECK(json.at("points").at(0).at("phase") == "ordered");
}

TEST_CASE("theory propagate simulates, resumes and says what theory says", "[theory]") {
  const TempDir folder;
  const std::vector<std::string> arguments{"theory",
                                           "propagate",
                                           "--law",
                                           "aci",
                                           "--bias-variance",
                                           "0.1",
                                           "--weight-variance",
                                           "2.5",
                                           "--width",
                                           "100",
                                           "--inputs",
                                           "20",
                                           "--layers",
                                           "1,5",
                                           "--networks",
                                           "2",
                                           "--results",
                                           (folder / "r.jsonl").string()};
  const Outcome run = run_program(arguments);
  INFO(run.error);
  REQUIRE(run.status == 0);
  CHECK(run.out.find("GFLOP/s") != std::string::npos);
  std::vector<std::string> again = arguments;
  again.insert(again.end(), {"--json", "--quiet"});
  const Outcome json = run_program(again);
  REQUIRE(json.status == 0);
  const auto result = nlohmann::json::parse(json.out);
  CHECK(result.at("rows").size() == 2);
  CHECK(result.at("rows").at(0).at("length").at("theory").get<double>() == Approx(2.6));
}

TEST_CASE("theory refuses what makes no sense", "[theory]") {
  const auto diagram = [](std::vector<std::string> more) {
    more.insert(more.begin(), {"theory", "phase-diagram"});
    return run_program(more);
  };
  check_failure(run_program({"theory"}), 2, {"subcommand"});
  check_failure(diagram({"--k", "-1"}), 2, {"k", "-1"});
  check_failure(diagram({"--weight-variance", "1:2"}), 2, {"1:2"});
  check_failure(diagram({"--weight-variance", "2:1:0.5"}), 2, {"2", "1"});
  check_failure(diagram({"--weight-variance", "a"}), 2, {"'a'"});
  check_failure(diagram({"--bias-variance=-1"}), 2, {"bias_variance", "-1"});
  check_failure(diagram({"--activation", "swish"}), 2, {"swish", "selu"});
  check_failure(run_program({"theory", "propagate", "--width", "1"}), 2, {"width"});
  check_failure(run_program({"theory", "propagate", "--law", "xavier"}), 2, {"xavier", "raai"});
  check_failure(run_program({"theory", "propagate", "--layers", "1.5"}), 2, {"1.5"});
  check_failure(run_program({"theory", "propagate", "--law", "rai", "--bias-variance", "0.1"}), 2, {"bias variance"});
}
