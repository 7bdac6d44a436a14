#include <kindling/dataset.h>
#include <kindling/weights_file.h>

#include <algorithm>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "io/dataset_prepare.h"
#include "support/dataset_files.h"
#include "support/expect_error.h"
#include "support/file_bytes.h"
#include "support/temp_dir.h"

using namespace kindling;
using namespace kindling::test;

TEST_CASE("a folder of IDX files becomes a data set", "[dataset]") {
  const TempDir dir;
  write_idx_folder(dir, cycle(60, 4));
  const Dataset d = load(dir.path().string() + "/");
  CHECK(d.name == dir.path().filename().string());
  CHECK(d.classes == 4);
  CHECK(d.train.count == 60);
  CHECK(d.test.count == 60);
  CHECK(d.validation.count == 0);
  CHECK(d.train.features == 3);
  CHECK(d.train.sample_shape == std::vector<std::int64_t>{1, 1, 3});
  CHECK(d.train.eight_bit());
  CHECK(d.train.labels == cycle(60, 4));
}

TEST_CASE("numpy and safetensors files with x and y become data sets", "[dataset]") {
  const TempDir dir;
  for (const char* name : {"data.npz", "data.safetensors"}) {
    const Dataset d = load(write_arrays(dir, {}, name));
    CHECK(d.name == name);
    CHECK(d.classes == 2);
    CHECK(d.train.floats == std::vector<float>{0, 1, 2, 3, 4, 5, 6, 7});
    CHECK(d.train.labels == Labels{0, 1, 0, 1});
    CHECK(d.test.floats == std::vector<float>{1, 1, 2, 2});
    CHECK(d.test.labels == Labels{1, 0});
  }
}

TEST_CASE("CIFAR-10 folders become data sets of ten classes", "[dataset]") {
  const TempDir dir;
  std::string record(3073, '\x10');
  record[0] = 0;
  std::string other(3073, '\x20');
  other[0] = 2;
  dir.write("data_batch_1.bin", record + other);
  dir.write("test_batch.bin", other);
  const Dataset d = load(dir.path().string());
  CHECK(d.classes == 10);
  CHECK(d.train.labels == Labels{0, 2});
  CHECK(d.test.sample_shape == std::vector<std::int64_t>{3, 32, 32});
}

TEST_CASE("synthetic glyphs are a data set that does not depend on the run's seed", "[dataset]") {
  const Dataset a = load("synthetic:glyphs:train=40,test=20", {}, 1);
  const Dataset b = load("synthetic:glyphs:test=20,train=40", {}, 2);
  CHECK(a.classes == 10);
  CHECK(a.train.bytes == b.train.bytes);
  CHECK(a.test.count == 20);
  CHECK(load("synthetic:glyphs:train=3,test=2").classes == 10);
  expect_error(ErrorCode::usage, {"'glyphs' expected", "'moons'"}, [] { load("synthetic:moons"); });
  expect_error(ErrorCode::usage, {"noise=3"}, [] { load("synthetic:glyphs:noise=3"); });
}

TEST_CASE("names that lead to no data are errors that say what was looked for", "[dataset]") {
  const TempDir dir;
  expect_error(ErrorCode::usage, {"empty name"}, [] { load(""); });
  expect_error(ErrorCode::file, {"nowhere", "synthetic:glyphs"}, [&] { load((dir / "nowhere").string()); });
  expect_error(ErrorCode::file,
               {dir.path().string(), "train-images-idx3-ubyte", "t10k-labels-idx1-ubyte", "data_batch_1.bin"},
               [&] { load(dir.path().string()); });
  const std::string other = dir.write("data.csv", "1,2,3\n").string();
  expect_error(ErrorCode::bad_input, {"data.csv", "folder"}, [&] { load(other); });
  const std::string no_y = (dir / "no_y.npz").string();
  write_npz(no_y, {{{"x", {2, 1}, {0, 1}}, {"z", {2}, {0, 1}}}, {}});
  expect_error(ErrorCode::bad_input, {"no_y.npz", "'y' expected", "x, z"}, [&] { load(no_y); });
  const std::string half = (dir / "half.npz").string();
  write_npz(half, {{{"x", {2, 1}, {0, 1}}, {"y", {2}, {0, 1}}, {"x_test", {1, 1}, {0}}}, {}});
  expect_error(ErrorCode::bad_input, {"half.npz", "'y_test' expected"}, [&] { load(half); });
}

TEST_CASE("without a test split a stratified one is held out, the same for every seed", "[dataset]") {
  const TempDir dir;
  Arrays a{.features = 1, .x = {}, .y = {}, .x_test = {}, .y_test = {}};
  for (int i = 0; i < 100; ++i) {
    a.x.push_back(static_cast<float>(i));
    a.y.push_back(static_cast<float>(i < 80 ? 0 : 1));
  }
  const std::string path = write_arrays(dir, a);
  const Dataset d = load(path, {}, 5);
  CHECK(d.train.count == 80);
  CHECK(d.test.count == 20);
  CHECK(std::count(d.test.labels.begin(), d.test.labels.end(), 1) == 4);
  CHECK(load(path, {}, 6).test.floats == d.test.floats);
  const Dataset none = load(path, {.test_fraction = 0.0});
  CHECK(none.test.count == 0);
  CHECK(none.train.count == 100);
}

TEST_CASE("limits keep the first samples", "[dataset]") {
  const TempDir dir;
  write_idx_folder(dir, cycle(60, 4));
  const Dataset d = load(dir.path().string(), {.limit_train = 7, .limit_test = 5});
  CHECK(d.train.count == 7);
  CHECK(d.train.labels == cycle(7, 4));
  CHECK(d.train.bytes.size() == 21);
  CHECK(d.train.bytes[18] == 6);
  CHECK(d.test.count == 5);
  CHECK(d.test.bytes.size() == 15);
  CHECK(load(dir.path().string(), {.limit_train = 1000}).train.count == 60);
  CHECK(load(dir.path().string(), {.limit_train = 2}).classes == 4);
}

TEST_CASE("the validation split is stratified, disjoint, and a function of the seed", "[dataset]") {
  const TempDir dir;
  Labels labels;
  for (int i = 0; i < 120; ++i) labels.push_back(i % 12 < 7 ? 0 : i % 12 < 11 ? 1 : 2);  // 70, 40, 10
  write_idx_folder(dir, labels);
  const Dataset d = load(dir.path().string(), {.validation_fraction = 0.3}, 1);
  CHECK(d.validation.count == 36);
  CHECK(d.train.count == 84);
  std::map<int, int> taken;
  for (const int label : d.validation.labels) ++taken[label];
  CHECK(taken == std::map<int, int>{{0, 21}, {1, 12}, {2, 3}});
  // The first byte is the sample's number: rows and labels must have moved together, none lost.
  std::set<int> seen;
  for (const Samples* s : {&d.train, &d.validation}) {
    REQUIRE(s->bytes.size() == static_cast<std::size_t>(s->count * 3));
    int last = -1;
    for (std::size_t i = 0; i < s->labels.size(); ++i) {
      const int number = s->bytes[3 * i];
      CHECK(s->labels[i] == labels[static_cast<std::size_t>(number)]);
      CHECK(s->bytes[3 * i + 1] == 2 * number % 251);
      CHECK(number > last);
      last = number;
      seen.insert(number);
    }
  }
  CHECK(seen.size() == 120);
  CHECK(load(dir.path().string(), {.validation_fraction = 0.3}, 1).validation.bytes == d.validation.bytes);
  CHECK(load(dir.path().string(), {.validation_fraction = 0.3}, 2).validation.bytes != d.validation.bytes);
  CHECK(load(dir.path().string(), {.validation_count = 1}).validation.count == 1);
  CHECK(load(dir.path().string(), {.validation_count = 117}).train.count == 3);
}

TEST_CASE("a stratified draw gives remainders to the largest and leaves one of each class", "[dataset]") {
  const Labels labels = {0, 0, 0, 0, 0, 1, 1, 1, 2};
  const auto count = [&](std::int64_t n) {
    std::vector<int> taken(3);
    for (const std::int64_t i : io::stratified_draw(labels, 3, n, 0, 0, "test"))
      ++taken[static_cast<std::size_t>(labels[static_cast<std::size_t>(i)])];
    return taken;
  };
  CHECK(count(3) == std::vector<int>{2, 1, 0});  // shares 1.67, 1, 0.33
  CHECK(count(4) ==
        std::vector<int>{2, 2, 0});  // 2.22, 1.33, 0.44: class 2 cannot spare its only sample, class 1 is next
  CHECK(count(6) == std::vector<int>{4, 2, 0});
  expect_error(ErrorCode::usage, {"7 samples", "test", "6 at most"}, [&] { count(7); });
}

TEST_CASE("options that make no sense are refused", "[dataset]") {
  const auto refused = [](const DatasetOptions& options, std::initializer_list<std::string> parts) {
    expect_error(ErrorCode::usage, parts, [&] { load("synthetic:glyphs:train=50,test=10", options); });
  };
  refused({.classes = 1}, {"2 classes"});
  refused({.classes = -3}, {"-3"});
  refused({.limit_train = -1}, {"-1"});
  refused({.limit_test = -1}, {"-1"});
  refused({.validation_fraction = 1.0}, {"validation fraction", "1"});
  refused({.validation_fraction = -0.1}, {"-0.1"});
  refused({.validation_fraction = std::numeric_limits<double>::quiet_NaN()}, {"nan"});
  refused({.validation_fraction = 0.001}, {"no sample at all"});
  refused({.validation_count = -1}, {"-1"});
  refused({.validation_count = 41}, {"41 samples", "validation", "40 at most"});
  refused({.validation_fraction = 0.1, .validation_count = 5}, {"twice"});
  refused({.test_fraction = 1.5}, {"test fraction"});
  CHECK(parse_standardisation("per_feature") == Standardisation::per_feature);
  CHECK(to_string(Standardisation::global) == "global");
  expect_error(ErrorCode::usage, {"'zscore'"}, [] { (void)parse_standardisation("zscore"); });
}

TEST_CASE("labels outside the classes are refused with index and value", "[dataset]") {
  const TempDir dir;
  write_idx_folder(dir, cycle(60, 4));
  expect_error(ErrorCode::bad_input, {"training sample 3 is 3", "0 to 2"},
               [&] { load(dir.path().string(), {.classes = 3}); });
  CHECK(load(dir.path().string(), {.classes = 7}).classes == 7);
  dir.write("t10k-labels-idx1-ubyte", idx_bytes(8, {60}, std::string(59, '\1') + '\4'));
  expect_error(ErrorCode::bad_input, {"test sample 59 is 4", "0 to 3"}, [&] { load(dir.path().string()); });
  dir.write("train-labels-idx1-ubyte", idx_bytes(8, {60}, std::string(59, '\1') + '\xc8'));
  expect_error(ErrorCode::bad_input, {"largest label is 200", "60 training samples"},
               [&] { load(dir.path().string()); });
}

TEST_CASE("one class, differing counts and widths, and other wrong content are refused", "[dataset]") {
  const TempDir dir;
  const auto refused = [&](const Arrays& a, std::initializer_list<std::string> parts,
                           const DatasetOptions& options = {}) {
    const std::string path = write_arrays(dir, a);
    expect_error(ErrorCode::bad_input, parts, [&] { load(path, options); });
  };
  refused({.y = {0, 0, 0, 0}, .y_test = {0, 0}}, {"2 classes", "all 4 training labels are 0"});
  refused({.y = {1, 1, 1, 1}}, {"2 classes", "label 1"});
  refused({}, {"2 classes", "all 1 training samples"}, {.limit_train = 1});
  refused({.y = {0, 1, 0}}, {"data.npz", "4 samples", "3 labels"});
  refused({.y_test = {0}}, {"'x_test' holds 2 samples", "1 labels"});
  refused({.x = {}, .y = {}}, {"zero samples"});
  refused({.x = {5, 5, 5, 5, 5, 5, 5, 5}}, {"vary", "first value 5"});
  const std::string path = (dir / "wide.npz").string();
  write_npz(
      path,
      {{{"x", {2, 2}, {0, 1, 2, 3}}, {"y", {2}, {0, 1}}, {"x_test", {1, 3}, {0, 1, 2}}, {"y_test", {1}, {0}}}, {}});
  expect_error(ErrorCode::bad_input, {"2 features", "test samples 3"}, [&] { load(path); });
}

TEST_CASE("inputs that are not finite are refused with sample and feature", "[dataset]") {
  const TempDir dir;
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  const auto refused = [&](const Arrays& a, std::initializer_list<std::string> parts) {
    const std::string path = write_arrays(dir, a);
    expect_error(ErrorCode::bad_input, parts, [&] { load(path); });
  };
  refused({.x = {0, 1, 2, 3, 4, nan, 6, 7}}, {"training sample 2, feature 1", "nan"});
  refused({.x = {0, 1, 2, 3, 4, 5, -infinity, 7}}, {"training sample 3, feature 0", "-inf"});
  refused({.x_test = {0, infinity, 2, 2}}, {"test sample 0, feature 1", "inf"});
}

TEST_CASE("bytes in one split and floats in the other are refused", "[dataset]") {
  const TempDir dir;
  write_idx_folder(dir, cycle(4, 2));
  dir.write("t10k-images-idx3-ubyte", idx_bytes(0x0D, {4, 1, 3}, big_endian(std::vector<float>(12, 0.5F))));
  expect_error(ErrorCode::bad_input, {"unsigned bytes in one split"}, [&] { load(dir.path().string()); });
}

TEST_CASE("a stop request ends the loading", "[dataset]") {
  std::stop_source source;
  source.request_stop();
  Context context;
  context.stop = source.get_token();
  const TempDir dir;
  write_idx_folder(dir, cycle(8, 2));
  expect_error(ErrorCode::interrupted, {}, [&] { load_dataset(dir.path().string(), {}, context); });
}
