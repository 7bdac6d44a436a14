#include "io/idx.h"

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "support/expect_error.h"
#include "support/file_bytes.h"
#include "support/temp_dir.h"

using namespace kindling;
using namespace kindling::test;
using kindling::io::open_idx;
using kindling::io::read_labels;
using kindling::io::read_samples;

namespace {

template <class T>
void check_samples(const TempDir& dir, int code, const std::vector<T>& values) {
  INFO("element type " << code);
  const auto n = static_cast<std::uint32_t>(values.size());
  const auto path = dir.write("samples", idx_bytes(code, {n, 1}, big_endian(values)));
  const Samples samples = read_samples(open_idx(path));
  REQUIRE(samples.floats.size() == values.size());
  CHECK(samples.bytes.empty());
  for (std::size_t i = 0; i < values.size(); ++i) CHECK(samples.floats[i] == static_cast<float>(values[i]));
}

template <class T>
void check_labels(const TempDir& dir, int code) {
  INFO("element type " << code);
  const auto path = dir.write("labels", idx_bytes(code, {4}, big_endian(std::vector<T>{T(3), T(0), T(127), T(1)})));
  CHECK(read_labels(open_idx(path)) == std::vector<std::int32_t>{3, 0, 127, 1});
}

void expect_bad(const TempDir& dir, const std::string& bytes, std::initializer_list<std::string> parts) {
  const auto path = dir.write("broken", bytes);
  expect_error(ErrorCode::bad_input, {path.string()}, [&] { (void)read_samples(open_idx(path)); });
  expect_error(ErrorCode::bad_input, parts, [&] { (void)read_samples(open_idx(path)); });
}

const std::string pixels = "abcdefghijkl";  // 12 bytes

}  // namespace

TEST_CASE("unsigned bytes stay bytes and keep their geometry", "[idx]") {
  const TempDir dir;
  const auto path = dir.write("images", idx_bytes(8, {2, 2, 3}, pixels));
  const Samples s = read_samples(open_idx(path));
  CHECK(s.count == 2);
  CHECK(s.features == 6);
  CHECK(s.sample_shape == std::vector<std::int64_t>{1, 2, 3});
  CHECK(std::string(s.bytes.begin(), s.bytes.end()) == pixels);
  CHECK(s.floats.empty());
  CHECK(s.eight_bit());
  const auto shape_of = [&](const std::vector<std::uint32_t>& extents) {
    return read_samples(open_idx(dir.write("images", idx_bytes(8, extents, pixels)))).sample_shape;
  };
  CHECK(shape_of({12}) == std::vector<std::int64_t>{1});
  CHECK(shape_of({3, 4}) == std::vector<std::int64_t>{4});
  CHECK(shape_of({1, 3, 2, 2}) == std::vector<std::int64_t>{3, 2, 2});
  CHECK(shape_of({1, 3, 2, 2, 1}) == std::vector<std::int64_t>{12});
}

TEST_CASE("every element type of the format is read as samples and as labels", "[idx]") {
  const TempDir dir;
  check_samples<std::int8_t>(dir, 0x09, {-128, -1, 0, 127});
  check_samples<std::int16_t>(dir, 0x0B, {-32768, -2, 258, 32767});
  check_samples<std::int32_t>(dir, 0x0C, {std::numeric_limits<std::int32_t>::min(), -3, 0x01020304, 7});
  check_samples<float>(dir, 0x0D, {-1.5F, 0.1F, 3.4e38F, 1e-40F});
  check_samples<double>(dir, 0x0E, {-1.5, 0.1, 1e30, 1e-45});
  check_labels<std::uint8_t>(dir, 0x08);
  check_labels<std::int8_t>(dir, 0x09);
  check_labels<std::int16_t>(dir, 0x0B);
  check_labels<std::int32_t>(dir, 0x0C);
  check_labels<float>(dir, 0x0D);
  check_labels<double>(dir, 0x0E);
}

TEST_CASE("more elements than one read takes arrive in order", "[idx]") {
  const TempDir dir;
  std::vector<std::int16_t> values(700'001);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<std::int16_t>(i * 7);
  for (const bool packed : {false, true}) {
    const std::string raw = idx_bytes(0x0B, {static_cast<std::uint32_t>(values.size())}, big_endian(values));
    const Samples s = read_samples(open_idx(dir.write("long", packed ? gzip(raw) : raw)));
    REQUIRE(s.floats.size() == values.size());
    CHECK(std::equal(values.begin(), values.end(), s.floats.begin(),
                     [](std::int16_t a, float b) { return static_cast<float>(a) == b; }));
  }
}

TEST_CASE("gzip is recognised by content, several members form one stream", "[idx]") {
  const TempDir dir;
  const std::string raw = idx_bytes(8, {2, 6}, pixels);
  const auto bytes_of = [&](const std::string& file) {
    const Samples s = read_samples(open_idx(dir.write("images", file)));
    return std::string(s.bytes.begin(), s.bytes.end());
  };
  CHECK(bytes_of(gzip(raw)) == pixels);
  CHECK(bytes_of(gzip(raw.substr(0, 5)) + gzip(raw.substr(5))) == pixels);
}

TEST_CASE("damaged IDX headers are refused", "[idx]") {
  const TempDir dir;
  expect_bad(dir, "", {"at least 4 bytes", "found 0"});
  expect_bad(dir, std::string("\0\0\x08", 3), {"at least 4 bytes", "found 3"});
  expect_bad(dir, "PK\x03\x04 some zip file", {"not an IDX file"});
  expect_bad(dir, idx_bytes(0x0A, {2, 6}, pixels), {"element type", "0x0a"});
  expect_bad(dir, idx_bytes(0x08, {}, pixels), {"no dimensions"});
  expect_bad(dir, idx_bytes(0x08, {2, 6}, "").substr(0, 9), {"header of 12 bytes", "found 9"});
  expect_bad(dir, idx_bytes(0x08, {0, 6}, ""), {"zero samples"});
  expect_bad(dir, idx_bytes(0x08, {2, 0}, ""), {"without features"});
}

TEST_CASE("truncated and oversized IDX files are refused with expected and found bytes", "[idx]") {
  const TempDir dir;
  const std::string raw = idx_bytes(8, {2, 6}, pixels);
  expect_bad(dir, raw.substr(0, raw.size() - 1), {"expected 24 bytes", "found 23", "truncated"});
  expect_bad(dir, raw + "x", {"expected 24 bytes", "found 25", "trailing"});
  expect_bad(dir, idx_bytes(0x0D, {2, 3}, pixels), {"expected 36 bytes", "2 x 3 of float32", "found 24"});
  expect_bad(dir, gzip(raw.substr(0, raw.size() - 1)), {"expected 24 bytes", "found 23", "truncated"});
  expect_bad(dir, gzip(raw + "x"), {"expected 24 bytes", "at least 25", "trailing"});
}

TEST_CASE("absurd dimensions are refused before memory is asked for", "[idx]") {
  const TempDir dir;
  const std::uint32_t huge = 0xffffffffU;
  expect_bad(dir, idx_bytes(8, {huge, huge}, pixels), {"4294967295"});
  expect_bad(dir, idx_bytes(0x0E, {huge, huge, huge, huge}, pixels), {"more than any file can hold"});
  expect_bad(dir, idx_bytes(8, std::vector<std::uint32_t>(255, huge), pixels), {"more than any file can hold"});
  expect_bad(dir, gzip(idx_bytes(8, {huge, 200}, pixels)), {"can hold"});
  // a product that wraps around to the true size
  expect_bad(dir, idx_bytes(8, {1U << 31U, 1U << 31U, 4, 12}, pixels), {"more than any file can hold"});
}

TEST_CASE("corrupt gzip data are refused", "[idx]") {
  const TempDir dir;
  std::string noise(5000, '\0');
  for (std::size_t i = 0; i < noise.size(); ++i) noise[i] = static_cast<char>(i * i * 31 >> 3);
  const std::string packed = gzip(idx_bytes(8, {50, 100}, noise));
  std::string broken = packed;
  broken[broken.size() - 7] = static_cast<char>(broken[broken.size() - 7] ^ 1);  // the checksum
  expect_bad(dir, broken, {"gzip", "incorrect data check"});
  broken = packed;
  broken[broken.size() - 2] = static_cast<char>(broken[broken.size() - 2] ^ 1);  // the length
  expect_bad(dir, broken, {"gzip", "incorrect length check"});
  broken = packed;
  broken[packed.size() / 2] = static_cast<char>(~broken[packed.size() / 2]);
  expect_bad(dir, broken, {"gzip"});
  expect_bad(dir, packed.substr(0, packed.size() / 2), {"truncated gzip", std::to_string(packed.size() / 2)});
  expect_bad(dir, packed.substr(0, packed.size() - 4), {"truncated gzip"});
  expect_bad(dir, packed + "junk", {"trailing bytes after the gzip data"});
  expect_bad(dir, packed + packed.substr(0, 12), {"gzip"});
}

TEST_CASE("labels that are no class numbers are refused with their index", "[idx]") {
  const TempDir dir;
  const auto bad = [&](const std::string& bytes, std::initializer_list<std::string> parts) {
    const auto path = dir.write("labels", bytes);
    expect_error(ErrorCode::bad_input, parts, [&] { (void)read_labels(open_idx(path)); });
  };
  bad(idx_bytes(0x09, {3}, std::string("\x01\xff\x02", 3)), {"labels", "label 1 is -1"});
  bad(idx_bytes(0x0D, {2}, big_endian(std::vector<float>{1.0F, 2.5F})), {"label 1 is 2.5"});
  bad(idx_bytes(0x0D, {1}, big_endian(std::vector<float>{std::numeric_limits<float>::quiet_NaN()})),
      {"label 0 is nan"});
  bad(idx_bytes(0x0E, {1}, big_endian(std::vector<double>{4e9})), {"label 0 is"});
  bad(idx_bytes(0x08, {2, 6}, pixels), {"rank 2"});
}

TEST_CASE("a file that is not there or is a folder is an error of the file", "[idx]") {
  const TempDir dir;
  expect_error(ErrorCode::file, {"absent", "No such file"}, [&] { (void)open_idx(dir / "absent"); });
  expect_error(ErrorCode::file, {"Is a directory"}, [&] { (void)open_idx(dir.path()); });
}

TEST_CASE("the folder's files are found under their usual names", "[idx]") {
  const std::string images = idx_bytes(8, {2, 6}, pixels);
  const std::string labels = idx_bytes(8, {2}, std::string("\0\1", 2));
  for (const char* separator : {"-", "."}) {
    for (const bool packed : {false, true}) {
      const TempDir dir;
      for (const char* stem : {"train-images", "t10k-images", "train-labels", "t10k-labels"}) {
        const bool image = std::string(stem).ends_with("images");
        const std::string name =
            std::string(stem) + separator + (image ? "idx3" : "idx1") + "-ubyte" + (packed ? ".gz" : "");
        dir.write(name, packed ? gzip(image ? images : labels) : (image ? images : labels));
      }
      Samples train;
      Samples test;
      std::string looked_for;
      REQUIRE(io::read_idx_folder(dir.path(), train, test, looked_for));
      CHECK(train.count == 2);
      CHECK(test.labels == std::vector<std::int32_t>{0, 1});
    }
  }
}

TEST_CASE("a folder that lacks some files is refused with their names", "[idx]") {
  const TempDir dir;
  Samples train;
  Samples test;
  std::string looked_for;
  CHECK_FALSE(io::read_idx_folder(dir.path(), train, test, looked_for));
  CHECK(looked_for.find("train-images-idx3-ubyte") != std::string::npos);
  dir.write("train-images-idx3-ubyte", idx_bytes(8, {2, 6}, pixels));
  dir.write("train-labels-idx1-ubyte", idx_bytes(8, {3}, std::string("\0\1\0", 3)));
  expect_error(ErrorCode::file, {dir.path().string(), "t10k-images-idx3-ubyte", "t10k-labels.idx1-ubyte.gz"},
               [&] { io::read_idx_folder(dir.path(), train, test, looked_for); });
  dir.write("t10k-images-idx3-ubyte", idx_bytes(8, {2, 6}, pixels));
  dir.write("t10k-labels-idx1-ubyte", idx_bytes(8, {2}, std::string("\0\1", 2)));
  expect_error(ErrorCode::bad_input, {"2 samples", "3 labels", "train-images", "train-labels"},
               [&] { io::read_idx_folder(dir.path(), train, test, looked_for); });
}
