#include <nlohmann/json.hpp>

#include "support/catch.h"
#include "support/temp_dir.h"
#include "tools/program.h"

using namespace kindling::test;

TEST_CASE("help and version", "[usage]") {
  const Outcome help = run_program({"--help"});
  CHECK(help.status == 0);
  CHECK(help.error.empty());
  for (const char* verb : {"init", "train", "compare", "targets", "Exit codes"})
    CHECK(help.out.find(verb) != std::string::npos);
  for (const char* verb : {"init", "train", "compare", "targets"}) {
    const Outcome verb_help = run_program({verb, "--help"});
    CHECK(verb_help.status == 0);
    for (const char* option : {"--seed", "--threads", "--target", "--device", "--json", "--quiet"}) {
      CHECK(verb_help.out.find(option) != std::string::npos);
    }
  }
  const Outcome version = run_program({"--version"});
  CHECK(version.status == 0);
  CHECK(version.out == "kindling " KINDLING_TEST_VERSION "\n");
}

TEST_CASE("command lines that make no sense", "[usage]") {
  check_failure(run_program({}), 2, {"verb", "compare"});
  check_failure(run_program({"paint"}), 2, {"paint"});
  check_failure(run_program({"init", "--bogus"}), 2, {"--bogus", "kindling init --help"});
  check_failure(run_program({"init", "--seed", "one"}), 2, {"--seed", "one"});
  check_failure(run_program({"init", "--seed", "-1"}), 2, {"--seed", "-1"});
  check_failure(run_program({"train", "--epochs", "2.5"}), 2, {"--epochs", "2.5"});
  check_failure(run_program({"compare", "--model", "256-10"}), 2, {"--methods"});
  check_failure(run_program({"targets", "--target", "abacus"}), 2, {"abacus", "compiled are"});
}

TEST_CASE("targets: what was compiled, what runs, what is chosen", "[usage]") {
  const Outcome text = run_program({"targets"});
  CHECK(text.status == 0);
  CHECK(text.out.find("* chosen: ") != std::string::npos);
  const Outcome json = run_program({"targets", "--json"});
  REQUIRE(json.status == 0);
  const auto all = nlohmann::json::parse(json.out);
  int chosen = 0;
  REQUIRE(!all.at("targets").empty());
  for (const auto& target : all.at("targets")) {
    CHECK(target.at("kernels").get<int>() > 10);
    CHECK(!target.at("reason").get<std::string>().empty());
    if (!target.at("chosen").get<bool>()) continue;
    ++chosen;
    CHECK(target.at("runnable").get<bool>());
    CHECK(target.at("name") == all.at("chosen").at("name"));
  }
  CHECK(chosen == 1);
  for (const auto& target : all.at("targets")) {
    const std::string name = target.at("name");
    const Outcome named = run_program({"targets", "--json", "--target", name});
    if (!target.at("runnable").get<bool>()) {
      check_failure(named, 2, {name, "cannot run here"});
      continue;
    }
    REQUIRE(named.status == 0);
    CHECK(nlohmann::json::parse(named.out).at("chosen").at("name") == name);
  }
}

TEST_CASE("--device names a kind of device instead of a target", "[usage]") {
  const auto all = nlohmann::json::parse(run_program({"targets", "--json"}).out).at("targets");
  const auto row = [&](const std::string& feature) -> const nlohmann::json* {
    for (const auto& t : all)
      if (t.at("halide_target").get<std::string>().find("-" + feature) != std::string::npos) return &t;
    return nullptr;
  };
  const auto chosen = [](const Outcome& outcome) {
    REQUIRE(outcome.status == 0);
    return nlohmann::json::parse(outcome.out).at("chosen").at("name").get<std::string>();
  };
  std::string cpu;  // the last that runs
  for (const auto& t : all)
    if (t.at("runnable").get<bool>() && !t.at("gpu").get<bool>()) cpu = t.at("name");
  if (!cpu.empty()) {
    CHECK(chosen(run_program({"targets", "--json", "--device", "cpu"})) == cpu);
    CHECK(chosen(run_program({"targets", "--json", "--device", "cpu", "--target", cpu})) == cpu);
  }
  const TempDir folder;
  for (const std::string device : {"opencl", "cuda"}) {
    CAPTURE(device);
    const nlohmann::json* target = row(device);
    const std::vector<std::string> init{
        "init", "--model", "5-3", "--method", "he", "--out", (folder / "w.npz").string(), "--device", device};
    if (target == nullptr) {
      check_failure(run_program(init), 2, {"device '" + device + "'", "no target for it", "compiled are"});
    } else if (!target->at("runnable").get<bool>()) {
      check_failure(run_program(init), 2, {"device '" + device + "'", "no driver or no device was found", device});
    } else {
      CHECK(chosen(run_program({"targets", "--json", "--device", device})) == target->at("name"));
      if (cpu.empty()) continue;
      check_failure(run_program({"targets", "--device", device, "--target", cpu}), 2,
                    {"--target " + cpu, "--device " + device, "contradict"});
      check_failure(run_program({"targets", "--device", "cpu", "--target", target->at("name")}), 2, {"contradict"});
    }
  }
  check_failure(run_program({"targets", "--device", "abacus"}), 2, {"abacus", "cpu, opencl or cuda"});
}

TEST_CASE("standard output that takes nothing", "[usage]") {
  for (const char* what : {"--help", "--version"}) {
    INFO(what);
    check_failure(run_program({what}, "/dev/full"), 5, {"standard output"});
  }
  check_failure(run_program({"targets", "--json"}, "/dev/full"), 5, {"standard output", "No space left"});
}
