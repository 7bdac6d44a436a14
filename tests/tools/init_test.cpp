#include <kindling/model.h>
#include <kindling/weights_file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "support/catch.h"
#include "support/sha256.h"
#include "support/temp_dir.h"
#include "tools/program.h"

using namespace kindling::test;

namespace {

std::vector<std::string> init(const std::vector<std::string>& more) {
  std::vector<std::string> all{"init", "--model", "256-12-10"};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

}  // namespace

TEST_CASE("init writes weights and a report", "[init]") {
  const TempDir folder;
  const std::string weights = (folder / "w.safetensors").string();
  const std::string npz = (folder / "w.npz").string();
  const std::string report = (folder / "r.json").string();
  const Outcome run =
      run_program(init({"--method", "ibci:k=2", "--data", glyphs, "--out", weights, "--npz", npz, "--report", report}));
  INFO(run.error);
  REQUIRE(run.status == 0);
  for (const char* part : {"256-12-10", "ibci:k=2", "layers.0", "layers.1", "24", "written: "}) {
    CHECK(run.out.find(part) != std::string::npos);
  }
  CHECK(folder.list() == std::vector<std::string>{"r.json", "w.npz", "w.safetensors"});
  const kindling::Weights read = kindling::read_weights(weights);
  REQUIRE(read.find("layers.0.weight") != nullptr);
  CHECK(read.find("layers.0.weight")->shape == std::vector<std::int64_t>{12, 256});
  CHECK(read.find("layers.1.bias")->data == std::vector<float>(10, 0.0F));
  CHECK(kindling::read_weights(npz).tensors == read.tensors);
  const auto json = nlohmann::json::parse(folder.read("r.json"));
  CHECK(json.at("report").at("layers").at(0).at("selected").size() == 12);
}

TEST_CASE("init --json says the same to machines", "[init]") {
  const TempDir folder;
  const std::string weights = (folder / "w.safetensors").string();
  const Outcome run = run_program(
      init({"--method", "lsuv:base=he", "--data", glyphs, "--out", weights, "--json", "--quiet", "--seed", "3"}));
  REQUIRE(run.status == 0);
  CHECK(run.error.empty());
  const auto json = nlohmann::json::parse(run.out);
  CHECK(json.at("method") == "lsuv:base=he");
  CHECK(json.at("seed") == 3);
  CHECK(json.at("parameters") == 256 * 12 + 12 + 12 * 10 + 10);
  CHECK(json.at("report").at("layers").size() == 2);
  CHECK(json.at("out") == weights);

  const Outcome list = run_program({"init", "--list", "--json"});
  REQUIRE(list.status == 0);
  bool has_ibci = false;
  for (const auto& method : nlohmann::json::parse(list.out)) {
    if (method.at("name") != "ibci") continue;
    has_ibci = true;
    CHECK(method.at("needs_data").get<bool>());
    CHECK(method.at("options").contains("alpha"));
  }
  CHECK(has_ibci);
  CHECK(run_program({"init", "--list"}).out.find("\nibci  (needs --data)") != std::string::npos);
}

TEST_CASE("a seed fixes the weights", "[init]") {
  const TempDir folder;
  const auto digest = [&](const std::string& name, const std::string& seed, const std::string& threads) {
    const Outcome run =
        run_program(init({"--method", "he", "--out", (folder / name).string(), "--seed", seed, "--threads", threads}));
    REQUIRE(run.status == 0);
    return sha256(folder.read(name));
  };
  const std::string first = digest("a.safetensors", "5", "1");
  CHECK(digest("b.safetensors", "5", "2") == first);
  CHECK(digest("c.safetensors", "6", "1") != first);
}

TEST_CASE("jacobian needs no data for the closed form, and data to simulate", "[init]") {
  const TempDir folder;
  const std::string out = (folder / "w.safetensors").string();
  const Outcome closed = run_program(init({"--method", "jacobian", "--out", out, "--json", "--quiet"}));
  REQUIRE(closed.status == 0);
  const auto layer = nlohmann::json::parse(closed.out).at("report").at("layers").at(0);
  CHECK(std::abs(layer.at("norm").get<double>() - 1) < 0.15);  // twelve neurons fluctuate
  const Outcome simulated = run_program(
      init({"--method", "jacobian:simulate=true,tolerance=0.005", "--data", glyphs, "--out", out, "--quiet"}));
  REQUIRE(simulated.status == 0);
  for (const char* part : {"norm before", "norm after", "layers.1", "yes"}) {
    CHECK(simulated.out.find(part) != std::string::npos);
  }
  std::filesystem::remove(out);
  check_failure(run_program(init({"--method", "jacobian:simulate=true", "--out", out})), 2,
                {"simulate=true", "--data"});
  check_failure(run_program(init({"--method", "jacobian:simulate=maybe", "--out", out})), 2, {"simulate", "maybe"});
  check_failure(run_program({"init", "--model", "1x4x4:conv4,10", "--method", "jacobian", "--out", out}), 2,
                {"layers.0", "simulate=true"});
  CHECK(folder.list().empty());
}

TEST_CASE("init refuses what it cannot do, and writes nothing", "[init]") {
  const TempDir folder;
  const std::string out = (folder / "w.safetensors").string();
  check_failure(run_program({"init", "--method", "he", "--out", out}), 2, {"--model"});
  check_failure(run_program(init({"--out", out})), 2, {"--method", "--list"});
  check_failure(run_program(init({"--method", "he"})), 2, {"--out"});
  check_failure(run_program(init({"--method", "magic", "--out", out})), 2, {"magic", "xavier", "ibci"});
  check_failure(run_program(init({"--method", "he:colour=red", "--out", out})), 2, {"colour"});
  check_failure(run_program(init({"--method", "ibci:k=many", "--data", glyphs, "--out", out})), 2, {"k", "many"});
  check_failure(run_program(init({"--method", "ibci", "--out", out})), 2, {"ibci", "--data"});
  check_failure(run_program(init({"--method", "lsuv", "--out", out})), 2, {"lsuv", "--data"});
  check_failure(run_program({"init", "--model", "256-x-10", "--method", "he", "--out", out}), 2, {"256-x-10"});
  check_failure(run_program({"init", "--model", "256-0-10", "--method", "he", "--out", out}), 2, {"256-0-10"});
  check_failure(run_program(init({"--method", "he", "--out", (folder / "w.bin").string()})), 2,
                {"w.bin", ".safetensors", ".npz"});
  check_failure(run_program(init({"--method", "he", "--out", out, "--threads", "-2"})), 2, {"threads", "-2"});
  check_failure(run_program(init({"--method", "ibci", "--data", glyphs, "--out", out, "--standardise", "loud"})), 2,
                {"loud"});
  check_failure(run_program(init({"--method", "ibci", "--data", glyphs, "--out", out, "--validation", "some"})), 2,
                {"--validation", "some"});
  check_failure(run_program(init({"--method", "ibci", "--data", "synthetic:noise", "--out", out})), 2, {"noise"});
  check_failure(run_program(init({"--method", "ibci", "--data", (folder / "none").string(), "--out", out})), 5,
                {"none"});
  CHECK(folder.list().empty());
}

TEST_CASE("a model that does not fit its data", "[init]") {
  const TempDir folder;
  const std::string out = (folder / "w.safetensors").string();
  const auto with_model = [&](const std::string& model, const std::string& method) {
    return run_program({"init", "--model", model, "--method", method, "--data", glyphs, "--out", out});
  };
  check_failure(with_model("784-12-10", "ibci"), 3, {"784", "256"});
  check_failure(with_model("256-12-9", "ibci"), 3, {"9", "10"});
  check_failure(with_model("784-12-10", "he"), 3, {"784", "256"});
  check_failure(with_model("256-12-10", "ibci:k=0"), 2, {"k"});
  CHECK(folder.list().empty());
}

TEST_CASE("damaged data name what is wrong", "[init]") {
  const TempDir folder;
  const TempDir data;
  const std::string out = (folder / "w.safetensors").string();
  const auto big_endian = [](std::uint32_t n) {
    return std::string{static_cast<char>(n >> 24U), static_cast<char>(n >> 16U), static_cast<char>(n >> 8U),
                       static_cast<char>(n)};
  };
  const auto images = [&](std::uint32_t count) {
    std::string pixels;
    for (std::uint32_t i = 0; i < 4 * count; ++i) pixels += static_cast<char>(i * 37);
    return std::string("\0\0\x08\x03", 4) + big_endian(count) + big_endian(2) + big_endian(2) + pixels;
  };
  const auto labels = [&](const std::string& values) {
    return std::string("\0\0\x08\x01", 4) + big_endian(static_cast<std::uint32_t>(values.size())) + values;
  };
  const auto run = [&] {
    return run_program({"init", "--model", "4-3-2", "--method", "ibci:k=2", "--data", data.path().string(), "--out",
                        out, "--classes", "2"});
  };
  data.write("train-images-idx3-ubyte", images(6));
  data.write("train-labels-idx1-ubyte", labels(std::string("\0\1\0\1\0\1", 6)));
  data.write("t10k-images-idx3-ubyte", images(2));
  data.write("t10k-labels-idx1-ubyte", labels(std::string("\0\1", 2)));
  CHECK(run().status == 0);
  std::filesystem::remove(out);
  data.write("train-labels-idx1-ubyte", labels(std::string("\0\1\0\1\0\2", 6)));
  check_failure(run(), 3, {"label", "2"});
  data.write("train-labels-idx1-ubyte", labels(std::string("\0\1\0\1\0", 5)));
  check_failure(run(), 3, {"6", "5"});
  data.write("train-labels-idx1-ubyte", labels(std::string("\0\1\0\1\0\1", 6)));
  data.write("train-images-idx3-ubyte", images(6).substr(0, 30));
  check_failure(run(), 3, {"train-images"});
  CHECK(folder.list().empty());
}

TEST_CASE("an output that cannot be written", "[init]") {
  const TempDir folder;
  check_failure(run_program(init({"--method", "he", "--out", (folder / "no").string() + "/w.npz"})), 5,
                {"no/w.npz", "No such file"});
  std::filesystem::create_directory(folder / "d.npz");
  check_failure(run_program(init({"--method", "he", "--out", (folder / "d.npz").string()})), 5, {"d.npz", "directory"});
  std::filesystem::create_symlink("/dev/full", folder / "full.safetensors");
  check_failure(run_program(init({"--method", "he", "--out", (folder / "full.safetensors").string()})), 5,
                {"full.safetensors", "No space left"});
  check_failure(
      run_program(init({"--method", "he", "--out", (folder / "w.npz").string(), "--report", "/no/such/r.json"})), 5,
      {"/no/such/r.json"});
  CHECK(folder.list() == std::vector<std::string>{"d.npz", "full.safetensors"});
  for (const char* name : {"late.safetensors", "late.npz"}) {
    check_failure(run_program(init({"--method", "he", "--out", (folder / name).string()}), "", 4096), 5,
                  {name, "File too large"});
  }
  CHECK(folder.list() == std::vector<std::string>{"d.npz", "full.safetensors"});
  if (::geteuid() != 0) {  // root writes everywhere
    ::chmod(folder.path().c_str(), 0500);
    check_failure(run_program(init({"--method", "he", "--out", (folder / "w.npz").string()})), 5,
                  {"w.npz", "Permission"});
    ::chmod(folder.path().c_str(), 0700);
  }
}
