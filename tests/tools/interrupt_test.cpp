#include <csignal>
#include <nlohmann/json.hpp>

#include "support/catch.h"
#include "support/temp_dir.h"
#include "tools/program.h"

using namespace kindling::test;

namespace {

// More epochs than anybody waits for.
const std::vector<std::string> long_training{"train",  "--model", "256-64-10", "--method", "he",
                                             "--data", glyphs,    "--epochs",  "1000000",  "--json"};

std::vector<std::string> joined(std::vector<std::string> words, const std::vector<std::string>& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

}  // namespace

TEST_CASE("Ctrl-C and SIGTERM end a training, and no file is left", "[interrupt]") {
  for (const int signal : {SIGINT, SIGTERM}) {
    const TempDir folder;
    folder.write("w.npz", "what was there before");
    Program program(joined(long_training, {"--out", (folder / "w.npz").string()}));
    program.wait_for_error("train 2/1000000");
    program.signal(signal);
    check_failure(program.wait(), 130, {"interrupted"});
    CHECK(folder.list() == std::vector<std::string>{"w.npz"});
    CHECK(folder.read("w.npz") == "what was there before");
  }
}

TEST_CASE("Ctrl-C ends an initialization, and no file is left", "[interrupt]") {
  const TempDir folder;
  Program program({"init", "--model", "256-64-10", "--method", "ibci:alpha=search,draws=1000,search_epochs=5", "--data",
                   glyphs, "--validation", "100", "--out", (folder / "w.safetensors").string()});
  program.wait_for_error("ibci");
  program.signal(SIGINT);
  check_failure(program.wait(), 130, {"interrupted"});
  CHECK(folder.list().empty());
}

TEST_CASE("an interrupted comparison goes on where it was", "[interrupt]") {
  const TempDir folder;
  const std::string file = (folder / "runs.jsonl").string();
  const auto arguments = [](const std::string& results, const std::string& epochs) {
    std::vector<std::string> all{"compare", "--model",  "256-32-10", "--methods", "xavier", "he",        "--data",
                                 glyphs,    "--epochs", epochs,      "--seeds",   "2",      "--threads", "1"};
    if (!results.empty()) all.insert(all.end(), {"--results", results});
    return all;
  };
  const std::string epochs = "60";
  {
    Program program(arguments(file, epochs));
    program.wait_for_error("1 of 4 runs");
    program.signal(SIGINT);
    check_failure(program.wait(), 130, {"interrupted", "of 4 runs", "runs.jsonl"});
  }
  const std::string kept = folder.read("runs.jsonl");
  REQUIRE(!kept.empty());
  CHECK(kept.back() == '\n');
  const auto json_of = [](std::vector<std::string> words) {
    const Outcome outcome = run_program(joined(std::move(words), {"--json", "--quiet"}));
    REQUIRE(outcome.status == 0);
    return nlohmann::json::parse(outcome.out);
  };
  const auto resumed = json_of(arguments(file, epochs));
  CHECK(folder.read("runs.jsonl").starts_with(kept));
  CHECK(resumed.at("runs").at(0).at("resumed").get<bool>());
  const auto fresh = json_of(arguments("", epochs));
  for (std::size_t i = 0; i < 4; ++i)
    CHECK(resumed.at("runs").at(i).at("epochs") == fresh.at("runs").at(i).at("epochs"));
}

TEST_CASE("two signals at once end the program even so", "[interrupt]") {
  Program program(long_training);
  program.wait_for_error("train 2/1000000");
  program.signal(SIGINT);
  program.signal(SIGTERM);
  CHECK(program.wait().status == 130);
}
