// kindling train --objective ..., kindling init --method bottleneck and kindling information, as a person runs them.
#include <signal.h>

#include <chrono>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "support/catch.h"
#include "support/sha256.h"
#include "support/temp_dir.h"
#include "tools/program.h"

using namespace kindling::test;

namespace {

std::vector<std::string> bottleneck(const std::vector<std::string>& more) {
  std::vector<std::string> all{"train", "--model",           "256-16-10",  "--method",         "he", "--data",
                               glyphs,  "--objective",       "bottleneck", "--iterations",     "15", "--critic-widths",
                               "24-24", "--critic-lr",       "1e-3",       "--critic-updates", "2",  "--warmup",
                               "40",    "--post-iterations", "600",        "--trace-every",    "5"};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

}  // namespace

TEST_CASE("train --objective bottleneck tells what each layer knows", "[bottleneck]") {
  const TempDir folder;
  const std::string out = (folder / "w.safetensors").string(), results = (folder / "r.jsonl").string();
  const Outcome run = run_program(bottleneck({"--out", out, "--results", results}));
  INFO(run.error);
  REQUIRE(run.status == 0);
  for (const char* part : {"layers.0", "layers.1", "I(Y; L)", "test error", "separation ratio"}) {
    INFO(part);
    CHECK(run.out.find(part) != std::string::npos);
  }
  const auto line = nlohmann::json::parse(folder.read("r.jsonl"));
  CHECK(line.at("run").at("beta") == 1e-3);
  CHECK(line.at("run").at("critic").at("widths") == std::vector<int>{24, 24});
  CHECK(line.at("report").at("trace").size() == 8);
  CHECK(line.at("test_error") < 0.84);             // chance is 0.9, give or take 0.021 for 200 samples
  CHECK(line.at("report").at("post_loss") < 2.3);  // below ln 10: the linear layer has learned

  // A finished training is not repeated, and its weights can be used.
  const Outcome again = run_program(bottleneck({"--results", results}));
  CHECK(again.status == 0);
  CHECK(again.out == run.out);
  CHECK(nlohmann::json::parse(folder.read("r.jsonl")) == line);
  const Outcome more = run_program({"train", "--weights", out, "--data", glyphs, "--epochs", "1", "--quiet"});
  INFO(more.error);
  CHECK(more.status == 0);
}

TEST_CASE("a killed training goes on from its checkpoint to the same weights", "[bottleneck]") {
  const TempDir folder;
  const auto path = [&](const char* name) { return (folder / name).string(); };
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.end(), {"--iterations", "60", "--seed", "3"});
    auto all = bottleneck(more);
    for (std::size_t i = 0; i < all.size(); ++i)  // the first --iterations goes
      if (all[i] == "--iterations") {
        all.erase(all.begin() + static_cast<std::ptrdiff_t>(i), all.begin() + static_cast<std::ptrdiff_t>(i + 2));
        break;
      }
    return all;
  };
  REQUIRE(run_program(with({"--out", path("whole.npz")})).status == 0);
  {
    Program program(
        with({"--checkpoint", path("c.safetensors"), "--checkpoint-seconds", "0", "--out", path("no.npz")}));
    program.wait_for_error("bottleneck layers.0");
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    program.signal(SIGKILL);
    CHECK(program.wait().status == 1000 + SIGKILL);
  }
  CHECK(!std::filesystem::exists(path("no.npz")));
  REQUIRE(std::filesystem::exists(path("c.safetensors")));
  const Outcome rest = run_program(
      with({"--checkpoint", path("c.safetensors"), "--out", path("resumed.npz"), "--json", "--threads", "1"}));
  INFO(rest.error);
  REQUIRE(rest.status == 0);
  CHECK(nlohmann::json::parse(rest.out).at("report").at("resumed") == true);
  CHECK(sha256(folder.read("whole.npz")) == sha256(folder.read("resumed.npz")));
  check_failure(run_program(with({"--checkpoint", path("c.safetensors"), "--beta", "0.5"})), 3, {"another training"});
}

TEST_CASE("train --objective regularized evaluates along the way", "[bottleneck]") {
  const Outcome run = run_program({"train", "--model",         "256-16-10",   "--method",     "he", "--data",
                                   glyphs,  "--objective",     "regularized", "--iterations", "20", "--trace-every",
                                   "10",    "--critic-widths", "24",          "--warmup",     "20", "--gamma",
                                   "0",     "--json",          "--quiet"});
  INFO(run.error);
  REQUIRE(run.status == 0);
  const auto json = nlohmann::json::parse(run.out);
  CHECK(json.at("report").at("trace").size() == 3);
  CHECK(json.at("report").at("trace").at(2).at("input_nats").is_null());
  CHECK(json.at("report").at("trace").at(2).at("test_error") == json.at("test_error"));
  check_failure(run_program({"train", "--model", "256-16-10", "--method", "he", "--data", glyphs, "--objective",
                             "regularized", "--post-iterations", "5"}),
                2, {"--post-iterations", "--alpha 0", "found 1"});
}

TEST_CASE("init --method bottleneck and its control", "[bottleneck]") {
  const TempDir folder;
  const std::string options = ":iterations=5,critic=16/16,critic_updates=1,warmup=10,post=20,critic_lr=0.001";
  for (const std::string method : {"bottleneck", "bottleneck-control"}) {
    const Outcome run = run_program({"init", "--model", "256-16-10", "--data", glyphs, "--method", method + options,
                                     "--out", (folder / (method + ".npz")).string()});
    INFO(run.error);
    REQUIRE(run.status == 0);
    CHECK(run.out.find("target nats") != std::string::npos);
  }
  CHECK(folder.read("bottleneck.npz") != folder.read("bottleneck-control.npz"));
}

TEST_CASE("information of pairs and of layers", "[bottleneck]") {
  const TempDir folder;
  const std::string results = (folder / "i.jsonl").string();
  const std::vector<std::string> pairs{"information",
                                       "--pairs",
                                       "synthetic:channel:a=2,noise=0.5",
                                       "--critic-widths",
                                       "32-32",
                                       "--critic-lr",
                                       "3e-3",
                                       "--batch",
                                       "128",
                                       "--updates",
                                       "300",
                                       "--evaluation-pairs",
                                       "20000",
                                       "--seeds",
                                       "2",
                                       "--results",
                                       results,
                                       "--json",
                                       "--quiet"};
  const Outcome run = run_program(pairs);
  INFO(run.error);
  REQUIRE(run.status == 0);
  const auto json = nlohmann::json::parse(run.out);
  REQUIRE(json.at("estimates").size() == 2);
  for (const auto& e : json.at("estimates")) {
    CHECK(e.at("truth").get<double>() == Approx(0.5 * std::log(17.0)));
    CHECK(std::abs(e.at("estimate").at("nats").get<double>() - e.at("truth").get<double>()) < 0.15);
  }
  CHECK(run_program(pairs).out == run.out);  // from the file, seconds included

  const Outcome layers = run_program({"information", "--model", "256-12-10", "--method", "he", "--data", glyphs,
                                      "--layer", "1", "--noise-variance", "2,0", "--critic-widths", "16", "--updates",
                                      "30", "--evaluation-pairs", "500", "--quiet"});
  INFO(layers.error);
  REQUIRE(layers.status == 0);
  for (const char* part : {"I(X; L2 + noise), variance 2, aa-mine", "variance 0, aa-mine", "I(Y; L2)"}) {
    INFO(part);
    CHECK(layers.out.find(part) != std::string::npos);
  }
}

TEST_CASE("the information plane of any training is written as lines", "[bottleneck]") {
  const TempDir folder;
  const std::string plane = (folder / "plane.jsonl").string();
  const auto points = [&] {
    std::vector<nlohmann::json> all;
    std::istringstream lines(folder.read("plane.jsonl"));
    for (std::string line; std::getline(lines, line);) all.push_back(nlohmann::json::parse(line));
    return all;
  };
  const Outcome run = run_program({"train", "--model",     "256-16-10",  "--method",        "he",   "--data",
                                   glyphs,  "--epochs",    "2",          "--weight-decay",  "1e-3", "--plane",
                                   plane,   "--plane-at",  "0,3,10,999", "--plane-updates", "20",   "--critic-widths",
                                   "16",    "--critic-lr", "1e-3",       "--quiet"});
  INFO(run.error);
  REQUIRE(run.status == 0);
  const auto found = points();
  REQUIRE(found.size() == 6);  // two layers at steps 0, 3 and 10 of 10
  CHECK(found[0].at("layer") == "layers.0");
  CHECK(found[3].at("step") == 3);
  CHECK(found[5].at("target_nats").is_number());
  REQUIRE(run_program(bottleneck({"--plane", plane})).status == 0);
  CHECK(points().size() == 8);
  check_failure(run_program({"train", "--model", "256-10", "--method", "he", "--data", glyphs, "--critic-lr", "1"}), 2,
                {"--critic-lr", "--plane"});
  check_failure(run_program({"train", "--model", "256-10", "--method", "he", "--data", glyphs, "--plane-at", "1"}), 2,
                {"--plane-at"});
}

TEST_CASE("bad input of the bottleneck's verbs is named", "[bottleneck]") {
  check_failure(run_program(bottleneck({"--beta", "-1"})), 2, {"beta", "found -1"});
  check_failure(run_program(bottleneck({"--batch", "1"})), 2, {"batch", "2 or more"});
  check_failure(run_program(bottleneck({"--epochs", "3"})), 2, {"--epochs", "bottleneck"});
  check_failure(run_program(bottleneck({"--gamma", "3"})), 2, {"--gamma", "bottleneck"});
  check_failure(run_program(bottleneck({"--estimator", "kl"})), 2, {"aa-mine", "kl"});
  check_failure(run_program({"train", "--model", "256-10", "--method", "he", "--data", glyphs, "--beta", "1"}), 2,
                {"--beta", "cross-entropy"});
  check_failure(run_program({"train", "--model", "256-10", "--method", "he", "--data", glyphs, "--objective", "mse"}),
                2, {"--objective", "mse"});
  check_failure(run_program({"information"}), 2, {"--weights and --method"});
  check_failure(run_program({"information", "--pairs", "synthetic:cauchy"}), 2, {"synthetic:cauchy"});
  check_failure(run_program({"information", "--pairs", "synthetic:gaussian:nats=1,dims=2"}), 2, {"dims"});
  check_failure(run_program({"information", "--pairs", "/nowhere.npz"}), 5, {"/nowhere.npz"});
  check_failure(run_program({"init", "--model", "256-10", "--data", glyphs, "--method", "bottleneck:critic=3.5",
                             "--out", "/tmp/never.npz"}),
                2, {"hidden layers"});
}
