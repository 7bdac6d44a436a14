#include "io/cifar.h"

#include <string>
#include <vector>

#include "support/expect_error.h"
#include "support/temp_dir.h"

using namespace kindling;
using namespace kindling::test;

namespace {

constexpr std::size_t pixels = 3072;

/// Records whose pixel p is label * 20 + p mod 7.
std::string batch(const std::vector<int>& labels) {
  std::string bytes;
  for (const int label : labels) {
    bytes += static_cast<char>(label);
    for (std::size_t p = 0; p < pixels; ++p) bytes += static_cast<char>(label * 20 + static_cast<int>(p % 7));
  }
  return bytes;
}

struct Read {
  bool found = false;
  Samples train;
  Samples test;
  std::string looked_for;
};
Read read(const TempDir& dir) {
  Read r;
  r.found = io::read_cifar_folder(dir.path(), r.train, r.test, r.looked_for);
  return r;
}

}  // namespace

TEST_CASE("the batches that are there are read in order", "[cifar]") {
  const TempDir dir;
  dir.write("data_batch_4.bin", batch({9, 0}));
  dir.write("data_batch_1.bin", batch({3}));
  dir.write("test_batch.bin", batch({7, 5, 1}));
  const Read r = read(dir);
  REQUIRE(r.found);
  CHECK(r.train.count == 3);
  CHECK(r.train.features == 3072);
  CHECK(r.train.sample_shape == std::vector<std::int64_t>{3, 32, 32});
  CHECK(r.train.labels == std::vector<std::int32_t>{3, 9, 0});
  CHECK(r.test.labels == std::vector<std::int32_t>{7, 5, 1});
  REQUIRE(r.train.bytes.size() == 3 * pixels);
  CHECK(r.train.bytes[0] == 60);
  CHECK(r.train.bytes[pixels] == 180);
  CHECK(r.train.bytes[2 * pixels - 1] == 180 + 3071 % 7);
}

TEST_CASE("a folder without batches is none, one with half of them is an error", "[cifar]") {
  const TempDir dir;
  const Read none = read(dir);
  CHECK_FALSE(none.found);
  CHECK(none.looked_for.find("data_batch_1.bin") != std::string::npos);
  dir.write("test_batch.bin", batch({1}));
  expect_error(ErrorCode::file, {dir.path().string(), "data_batch_1.bin .. data_batch_5.bin"}, [&] { read(dir); });
  std::filesystem::remove(dir / "test_batch.bin");
  dir.write("data_batch_5.bin", batch({1}));
  expect_error(ErrorCode::file, {dir.path().string(), "test_batch.bin"}, [&] { read(dir); });
}

TEST_CASE("cut, oversized, empty and mislabelled batches are refused", "[cifar]") {
  const TempDir dir;
  dir.write("test_batch.bin", batch({1}));
  const std::string good = batch({1, 2});
  const auto bad = [&](const std::string& bytes, std::initializer_list<std::string> parts) {
    dir.write("data_batch_2.bin", bytes);
    expect_error(ErrorCode::bad_input, parts, [&] { read(dir); });
  };
  bad(good.substr(0, good.size() - 1), {"data_batch_2.bin", "multiple of 3073", "found 6145"});
  bad(good + "x", {"multiple of 3073", "found 6147"});
  bad("", {"zero samples"});
  bad(batch({4, 10}), {"label 1 is 10", "0 to 9"});
}
