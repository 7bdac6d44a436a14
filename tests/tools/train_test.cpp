#include <nlohmann/json.hpp>

#include "support/catch.h"
#include "support/sha256.h"
#include "support/temp_dir.h"
#include "tools/program.h"

using namespace kindling::test;

namespace {

std::vector<std::string> training(const std::vector<std::string>& more) {
  std::vector<std::string> all{"train", "--data", glyphs, "--epochs", "2"};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

}  // namespace

TEST_CASE("train prints a line an epoch and a summary", "[train]") {
  const TempDir folder;
  const std::string out = (folder / "w.safetensors").string();
  const Outcome run =
      run_program(training({"--model", "256-12-10", "--method", "he", "--validation", "100", "--out", out}));
  INFO(run.error);
  REQUIRE(run.status == 0);
  for (const char* part :
       {"epoch    1", "epoch    2", "after the last epoch", "chosen by validation", "optimistic", "written: "}) {
    INFO(part);
    CHECK(run.out.find(part) != std::string::npos);
  }
  CHECK(run.out.find("epoch    3") == std::string::npos);

  SECTION("and goes on from its weights, whose file names the model") {
    const Outcome more = run_program(training({"--weights", out, "--json", "--quiet"}));
    INFO(more.error);
    REQUIRE(more.status == 0);
    CHECK(more.error.empty());
    const auto json = nlohmann::json::parse(more.out);
    CHECK(json.at("model") == "256-12-10");
    CHECK(json.at("start") == out);
    CHECK(json.at("epochs").size() == 3);
    CHECK(json.at("epochs").at(0).at("train_loss").is_null());
    CHECK(json.at("summary").at("chosen_test_error").is_null());
    CHECK(json.at("summary").at("min_test_error") <= json.at("summary").at("final_test_error"));
    CHECK(json.at("epochs").at(2).at("test_error") == json.at("summary").at("final_test_error"));
  }
  SECTION("but not as another model") {
    check_failure(run_program(training({"--weights", out, "--model", "256-13-10"})), 3,
                  {"layers.0", "13x256", "12x256"});
  }
  SECTION("a stop of training is no different from a longer one") {
    const std::string first = (folder / "first.npz").string();
    REQUIRE(run_program(training({"--model", "256-12-10", "--method", "he", "--validation", "100", "--out", first}))
                .status == 0);
    const std::string second = (folder / "second.npz").string();
    REQUIRE(run_program(training({"--model", "256-12-10", "--method", "he", "--validation", "100", "--out", second,
                                  "--threads", "1"}))
                .status == 0);
    CHECK(sha256(folder.read("first.npz")) == sha256(folder.read("second.npz")));
  }
}

TEST_CASE("train refuses what it cannot do", "[train]") {
  const TempDir folder;
  const auto he = [](std::vector<std::string> more) {
    std::vector<std::string> all{"--model", "256-12-10", "--method", "he"};
    all.insert(all.end(), more.begin(), more.end());
    return run_program(training(all));
  };
  check_failure(run_program({"train", "--model", "256-12-10", "--method", "he"}), 2, {"--data"});
  check_failure(run_program(training({"--method", "he"})), 2, {"--model"});
  check_failure(run_program(training({"--model", "256-12-10"})), 2, {"--weights", "--method", "none"});
  check_failure(he({"--weights", "w.npz"}), 2, {"--weights", "--method", "both"});
  check_failure(he({"--optimizer", "magic"}), 2, {"magic", "sgd"});
  check_failure(he({"--momentum", "0.5"}), 2, {"--momentum", "sgd"});
  check_failure(he({"--optimizer", "momentum", "--beta1", "0.5"}), 2, {"--beta1", "adam"});
  check_failure(he({"--lr", "0"}), 2, {"learning rate", "0"});
  check_failure(he({"--lr", "nan"}), 2, {"learning rate", "nan"});
  check_failure(he({"--batch", "0"}), 2, {"batch", "0"});
  check_failure(he({"--validation", "1.5"}), 2, {"1.5"});
  check_failure(he({"--validation", "500"}), 2, {"500"});
  check_failure(he({"--out", (folder / "w.txt").string()}), 2, {"w.txt"});
  check_failure(run_program(training({"--model", "784-10", "--method", "he"})), 3, {"784", "256"});
  check_failure(run_program(training({"--weights", (folder / "none.npz").string()})), 5, {"none.npz"});
  folder.write("broken.safetensors", "no weights at all");
  check_failure(run_program(training({"--weights", (folder / "broken.safetensors").string()})), 3,
                {"broken.safetensors"});
  CHECK(folder.list() == std::vector<std::string>{"broken.safetensors"});
}

TEST_CASE("training that diverges is a numerical failure and writes nothing", "[train]") {
  const TempDir folder;
  const Outcome run = run_program(
      training({"--model", "256-12-10", "--method", "he:gain=1e30", "--json", "--out", (folder / "w.npz").string()}));
  check_failure(run, 4, {"epoch 1"});
  CHECK(folder.list().empty());
}
