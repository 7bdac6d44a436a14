// Every verb and every method on the OpenCL row: they run, and agree with the CPU's but for rounding.
#include <kindling/weights_file.h>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "support/catch.h"
#include "support/temp_dir.h"
#include "tools/program.h"

using namespace kindling::test;
using nlohmann::json;

namespace {

bool have_opencl() {
  const Outcome targets = run_program({"targets", "--json"});
  REQUIRE(targets.status == 0);
  const json parsed = json::parse(targets.out);
  for (const auto& t : parsed.at("targets"))
    if (t.at("name") == "opencl" && t.at("runnable").get<bool>()) return true;
  std::cout << "skipped: no OpenCL device\n";
  return false;
}

std::vector<std::string> words(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> all;
  for (std::string word; stream >> word;) all.push_back(word);
  return all;
}

Outcome run_on(const std::string& device, std::vector<std::string> arguments) {
  arguments.insert(arguments.end(), {"--device", device, "--quiet"});
  Outcome outcome = run_program(arguments);
  INFO(outcome.error);
  REQUIRE(outcome.status == 0);
  return outcome;
}

// Numbers that say how long something took, where it ran, or what a rounding may turn into anything.
bool beside_the_point(const std::string& key) {
  static const std::set<std::string> names{"seconds",       "target",     "device",          "flops",    "results",
                                           "run",           "p",          "p_holm",          "duration", "iterations",
                                           "init_seconds",  "host_steps", "bytes_to_device", "version",  "products",
                                           "bytes_to_host", "converged",  "difference"};
  return names.contains(key) || key.find("seconds") != std::string::npos || key.find("flops") != std::string::npos;
}

int compared = 0;

void expect_close(const json& cpu, const json& device, const std::string& where, double tolerance) {
  INFO(where);
  if (cpu.is_object()) {
    for (const auto& [key, value] : cpu.items()) {
      if (beside_the_point(key)) continue;
      INFO(key);
      REQUIRE(device.contains(key));
      expect_close(value, device.at(key), where + "/" + key, tolerance);
    }
  } else if (cpu.is_array()) {
    REQUIRE(cpu.size() == device.size());
    for (std::size_t i = 0; i < cpu.size(); ++i)
      expect_close(cpu[i], device[i], where + "/" + std::to_string(i), tolerance);
  } else if (cpu.is_number()) {
    REQUIRE(device.is_number());
    const double a = cpu.get<double>(), b = device.get<double>();
    INFO(a << " " << b);
    CHECK(std::abs(a - b) <= tolerance * (1 + std::abs(a)));
    ++compared;
  }
}

double difference(const kindling::Weights& a, const kindling::Weights& b) {
  double off = 0, all = 0;
  REQUIRE(a.tensors.size() == b.tensors.size());
  for (std::size_t t = 0; t < a.tensors.size(); ++t) {
    REQUIRE(a.tensors[t].data.size() == b.tensors[t].data.size());
    for (std::size_t i = 0; i < a.tensors[t].data.size(); ++i) {
      const double x = a.tensors[t].data[i], y = b.tensors[t].data[i];
      off += (x - y) * (x - y);
      all += x * x;
    }
  }
  return std::sqrt(off / all);
}

// Few steps, small critics.
std::string short_spec(const std::string& method) {
  static const std::map<std::string, std::string> options{
      {"ibci", ":k=2"},
      {"ibci-control", ":k=2"},
      {"bottleneck", ":iterations=2,warmup=2,critic=16,critic_updates=1,batch=20,post=2"},
      {"bottleneck-control", ":iterations=2,warmup=2,critic=16,critic_updates=1,batch=20,post=2"},
      {"mmd", ":perturbations=3,steps=3,window=2,batch=10"},
      {"mmd-control", ":perturbations=3,steps=3,window=2,batch=10"},
      {"random-label", ":steps=3,window=2,batch=10"}};
  const auto found = options.find(method);
  return method + (found == options.end() ? "" : found->second);
}

}  // namespace

TEST_CASE("every method initializes on a device as on the CPU", "[device]") {
  if (!have_opencl()) return;
  const json methods = json::parse(run_program({"init", "--list", "--json"}).out);
  REQUIRE(methods.size() > 10);
  std::vector<std::string> specs{"jacobian:simulate=true", "aci:match=raai", "ibci:variant=program,k=2",
                                 "ibci:alpha=search,draws=2,search_epochs=1,k=2",
                                 "mmd-control:perturbations=3,steps=3,window=2,batch=10,match=jacobian"};
  for (const auto& method : methods) specs.push_back(short_spec(method.at("name")));
  const TempDir folder;
  for (const std::string& spec : specs) {
    CAPTURE(spec);
    std::map<std::string, kindling::Weights> weights;
    for (const std::string device : {"cpu", "opencl"}) {
      const std::string out = (folder / (device + ".npz")).string();
      const Outcome run = run_on(device, {"init", "--model", "256-12-10", "--method", spec, "--data", glyphs,
                                          "--validation", "100", "--out", out, "--seed", "3", "--json"});
      const json report = json::parse(run.out).at("report");
      CHECK(report.contains("device") == (device == "opencl"));
      if (device == "opencl") {
        CHECK(report.at("device").at("target") == "opencl");
        CHECK(report.at("device").at("bytes_to_host").get<std::int64_t>() > 0);
        CHECK(report.at("device").at("host_steps").is_array());
      }
      weights[device] = kindling::read_weights(out);
    }
    CHECK(difference(weights["cpu"], weights["opencl"]) < 1e-3);
  }
}

TEST_CASE("a report from a device says what the host did", "[device]") {
  if (!have_opencl()) return;
  const TempDir folder;
  const std::vector<std::string> init{
      "init", "--model", "256-12-10", "--method", "orthogonal", "--out", (folder / "w.npz").string()};
  const Outcome device = run_on("opencl", init);
  for (const char* part : {"on opencl: ", "MB copied to the device", "on the host: orthogonal weights: QR"})
    CHECK(device.out.find(part) != std::string::npos);
  CHECK(run_on("cpu", init).out.find("on the host") == std::string::npos);
  const std::vector<std::string> theory{"theory", "phase-diagram", "--weight-variance", "2"};
  CHECK(run_on("opencl", theory).out.find("on the host: mean-field theory") != std::string::npos);
  CHECK(run_on("cpu", theory).out.find("on the host") == std::string::npos);
}

TEST_CASE("every verb runs on a device as on the CPU", "[device]") {
  if (!have_opencl()) return;
  const TempDir folder;
  const std::string weights = (folder / "w.npz").string();
  REQUIRE(run_program({"init", "--model", "256-12-10", "--method", "he", "--out", weights, "--quiet"}).status == 0);
  const std::string data = " --data " + glyphs, conv = "1x16x16:conv4,bn,relu,pool2,conv4,relu,flatten,10";
  const std::string lines[] = {
      "train --model 256-12-10 --method he --epochs 1 --lr 0.05" + data,
      "train --model " + conv + " --method he --epochs 1 --optimizer adam --lr 0.001" + data,
      "train --model 256-12-10 --method he --objective bottleneck --iterations 2 --warmup 2 --critic-widths 16 "
      "--critic-updates 1 --batch 20 --post-iterations 2" +
          data,
      "train --model 256-12-10 --method he --objective regularized --iterations 2 --warmup 2 --critic-widths 16 "
      "--critic-updates 1 --batch 20" +
          data,
      "compare --model 256-12-10 --methods he ibci:k=2 --seeds 2 --epochs 1" + data,
      "evaluate binary-tasks --model 256-12-2 --tasks 1 --n 3 --repetitions 1 --epochs 1 --methods xavier "
      "mmd:perturbations=3,steps=3,window=2" +
          data,
      "evaluate teacher --tasks simple --methods he --seeds 1 --depth 3 --width 10 --samples 100 --epochs 1",
      "information --pairs synthetic:channel:a=2,noise=0.5 --critic-widths 16 --batch 32 --updates 5 "
      "--evaluation-pairs 500",
      "information --model 256-12-10 --method he --layer 1 --critic-widths 16 --updates 5 --evaluation-pairs 200" +
          data,
      "theory propagate --law aci --weight-variance 2.5 --bias-variance 0.1 --width 40 --inputs 10 --layers 1,3 "
      "--networks 1",
      "theory propagate --law raai --weight-variance 0.9 --width 40 --inputs 10 --layers 1,3 --networks 1",
      "theory phase-diagram --weight-variance 1,2 --bias-variance 0.1",
      "inspect " + weights + " --samples 50 --curvature --steps 10" + data};
  for (const std::string& line : lines) {
    CAPTURE(line);
    std::vector<std::string> arguments = words(line);
    arguments.emplace_back("--json");
    const Outcome cpu = run_on("cpu", arguments), device = run_on("opencl", arguments);
    compared = 0;
    const json on_cpu = json::parse(cpu.out), on_device = json::parse(device.out);
    expect_close(on_cpu, on_device, "", 0.02);
    CHECK(compared > 0);
    CHECK(!on_cpu.contains("device"));
    const json report = on_device.at("device");
    CHECK(report.at("target") == "opencl");
    const bool kernels = line.find("phase-diagram") == std::string::npos;  // which is arithmetic of the host alone
    CHECK((report.at("bytes_to_device").get<std::int64_t>() > 0) == kernels);
    CHECK((report.at("bytes_to_host").get<std::int64_t>() > 0) == kernels);
    if (!kernels) CHECK(report.at("host_steps").size() == 1);
  }
}

TEST_CASE("a report from a device has what every thread of a run did", "[device]") {
  if (!have_opencl()) return;
  json reports[2];
  for (const int jobs : {1, 2}) {
    std::vector<std::string> line =
        words("compare --model 256-12-10 --methods he ibci:k=2 --seeds 2 --epochs 1 --json");
    line.insert(line.end(), {"--data", glyphs, "--jobs", std::to_string(jobs)});
    json& report = reports[jobs - 1];
    report = json::parse(run_on("opencl", line).out).at("device");
    std::sort(report.at("host_steps").begin(), report.at("host_steps").end());
  }
  CHECK(reports[0].at("host_steps").size() >= 2);
  CHECK(reports[0] == reports[1]);
}
