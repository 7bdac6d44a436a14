#include "io/safetensors.h"

#include <kindling/weights_file.h>

#include <filesystem>
#include <string>
#include <vector>

#include "support/expect_error.h"
#include "support/file_bytes.h"
#include "support/sha256.h"
#include "support/temp_dir.h"

using namespace kindling;
using namespace kindling::test;

namespace {

const Weights example{{{"layers.1.bias", {3}, {-1.0F, 0.5F, 3.25F}},
                       {"layers.0.weight", {2, 3}, {1, 2, 3, 4, 5, 6}},
                       {"scalar", {}, {7}},
                       {"none", {0, 5}, {}}},
                      {{"model", "3-2"}, {"note", "\xc3\xa4 \"quoted\"\n"}}};

/// A tensor entry of a header.
std::string entry(const std::string& name, const std::string& type, const std::string& shape,
                  const std::string& offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + type + "\",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}";
}
const std::string eight(8, '\0');

void expect_bad(const TempDir& dir, const std::string& bytes, std::initializer_list<std::string> parts) {
  const auto path = dir.write("broken.safetensors", bytes);
  expect_error(ErrorCode::bad_input, {path.string()}, [&] { (void)read_safetensors(path); });
  expect_error(ErrorCode::bad_input, parts, [&] { (void)read_safetensors(path); });
}

}  // namespace

TEST_CASE("weights come back as they were written, sorted by name", "[safetensors]") {
  const TempDir dir;
  write_safetensors(dir / "w.safetensors", example);
  const Weights back = read_safetensors(dir / "w.safetensors");
  CHECK(back.metadata == example.metadata);
  REQUIRE(back.tensors.size() == 4);
  CHECK(back.tensors[0] == example.tensors[1]);
  CHECK(back.tensors[1] == example.tensors[0]);
  CHECK(back.tensors[2] == example.tensors[3]);
  CHECK(back.tensors[3] == example.tensors[2]);
  REQUIRE(back.find("scalar") != nullptr);
  CHECK(back.find("scalar")->data == std::vector<float>{7});
  CHECK(back.find("layers.9.bias") == nullptr);
  CHECK(read_weights(dir / "w.safetensors").tensors == back.tensors);
}

TEST_CASE("the bytes follow the format's specification", "[safetensors]") {
  const TempDir dir;
  write_safetensors(dir / "w.safetensors", {{{"b", {1}, {2.0F}}, {"a", {2}, {1.0F, -1.0F}}}, {{"k", "v"}}});
  std::string header = R"({"__metadata__":{"k":"v"},"a":{"data_offsets":[0,8],"dtype":"F32","shape":[2]},)"
                       R"("b":{"data_offsets":[8,12],"dtype":"F32","shape":[1]}})";
  header.append((8 - header.size() % 8) % 8, ' ');
  CHECK(dir.read("w.safetensors") == safetensors_bytes(header, little_endian(std::vector<float>{1.0F, -1.0F, 2.0F})));
}

TEST_CASE("the same weights in any order give the same bytes", "[safetensors]") {
  const TempDir dir;
  Weights turned = example;
  std::swap(turned.tensors[0], turned.tensors[3]);
  write_safetensors(dir / "a", example);
  write_safetensors(dir / "b", turned);
  CHECK(sha256(dir.read("a")) == sha256(dir.read("b")));
  CHECK(sha256("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST_CASE("an empty set of weights is a valid file", "[safetensors]") {
  const TempDir dir;
  write_safetensors(dir / "w", {});
  CHECK(read_safetensors(dir / "w").tensors.empty());
}

TEST_CASE("other element types are converted to float32", "[safetensors]") {
  const TempDir dir;
  const auto one = [&](const std::string& type, std::size_t size, const std::string& data) {
    const std::string bytes = std::to_string(data.size());
    const std::string shape = "[" + std::to_string(data.size() / size) + "]";
    return read_safetensors(
               dir.write("t", safetensors_bytes("{" + entry("t", type, shape, "[0," + bytes + "]") + "}", data)))
        .tensors[0]
        .data;
  };
  using Floats = std::vector<float>;
  CHECK(one("F64", 8, little_endian(std::vector<double>{0.1, -2.0})) == Floats{0.1F, -2.0F});
  CHECK(one("I64", 8, little_endian(std::vector<std::int64_t>{-5, 1LL << 40})) == Floats{-5.0F, 1099511627776.0F});
  CHECK(one("U8", 1, "\x01\xff") == Floats{1.0F, 255.0F});
  // 1, -2, the largest half, the smallest subnormal half, infinity
  CHECK(one("F16", 2, little_endian(std::vector<std::uint16_t>{0x3c00, 0xc000, 0x7bff, 0x0001, 0x7c00})) ==
        Floats{1.0F, -2.0F, 65504.0F, 0x1p-24F, std::numeric_limits<float>::infinity()});
  CHECK(one("BF16", 2, little_endian(std::vector<std::uint16_t>{0x3f80, 0xc040})) == Floats{1.0F, -3.0F});
}

TEST_CASE("a safetensors header that lies about its length is refused", "[safetensors]") {
  const TempDir dir;
  expect_bad(dir, "", {"8 bytes", "0 bytes"});
  expect_bad(dir, "1234567", {"8 bytes", "7 bytes"});
  expect_bad(dir, little_endian(std::vector<std::uint64_t>{3}) + "{}", {"3 bytes is announced", "found 2"});
  expect_bad(dir, little_endian(std::vector<std::uint64_t>{~std::uint64_t{0}}) + "{}", {"18446744073709551615 bytes"});
  expect_bad(dir, safetensors_bytes("", ""), {"begins with '{'"});
  expect_bad(dir, safetensors_bytes(" {}", ""), {"begins with '{'"});
  // a sparse file: a header beyond the limit that the file does hold
  const auto large = dir.write("large", little_endian(std::vector<std::uint64_t>{150'000'000}) + "{");
  std::filesystem::resize_file(large, 150'000'008);
  expect_error(ErrorCode::bad_input, {"100000000 bytes at most", "150000000"}, [&] { (void)read_safetensors(large); });
}

TEST_CASE("a safetensors header that is no sound JSON is refused", "[safetensors]") {
  const TempDir dir;
  expect_bad(dir, safetensors_bytes("{\"a\":", ""), {"not JSON"});
  expect_bad(dir, safetensors_bytes("{} {}", ""), {"not JSON"});
  expect_bad(dir, safetensors_bytes("{\"\xff\":1}", ""), {"not JSON"});
  expect_bad(dir, safetensors_bytes("{" + entry("a", "F32", "[1]", "[0,1e999]") + "}", eight), {"not JSON"});
  expect_bad(dir, safetensors_bytes("{" + std::string(100'000, '[') + "}", ""), {"not JSON"});
  expect_bad(dir, safetensors_bytes("{\"a\":" + std::string(100'000, '['), ""), {"nested"});
  expect_bad(
      dir,
      safetensors_bytes("{" + entry("a", "F32", "[1]", "[0,4]") + "," + entry("a", "F32", "[1]", "[4,8]") + "}", eight),
      {"'a' is given twice"});
  expect_bad(dir, safetensors_bytes(R"({"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}})", eight),
             {"'dtype' is given twice"});
  expect_bad(dir, safetensors_bytes(R"({"__metadata__":{"k":"v","k":"w"}})", ""), {"'k' is given twice"});
  expect_bad(dir, safetensors_bytes(R"({"__metadata__":["k"]})", ""), {"__metadata__"});
  expect_bad(dir, safetensors_bytes(R"({"__metadata__":{"k":1}})", ""), {"'k'", "not a string"});
}

TEST_CASE("safetensors entries that are incomplete or of wrong types are refused", "[safetensors]") {
  const TempDir dir;
  expect_bad(dir, safetensors_bytes(R"({"a":1})", ""), {"tensor 'a'"});
  expect_bad(dir, safetensors_bytes(R"({"a":{"dtype":"F32","shape":[2]}})", eight), {"data_offsets"});
  expect_bad(dir, safetensors_bytes(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}})", eight),
             {"nothing else"});
  expect_bad(dir, safetensors_bytes(R"({"a":{"dtype":4,"shape":[2],"data_offsets":[0,8]}})", eight), {"string dtype"});
  expect_bad(dir, safetensors_bytes(R"({"a":{"dtype":"F32","shape":2,"data_offsets":[0,8]}})", eight),
             {"arrays shape"});
  expect_bad(dir, safetensors_bytes("{" + entry("a", "F31", "[2]", "[0,8]") + "}", eight), {"unknown dtype 'F31'"});
  expect_bad(dir, safetensors_bytes("{" + entry("a", "BOOL", "[8]", "[0,8]") + "}", eight),
             {"numbers expected, found BOOL"});
  expect_bad(dir, safetensors_bytes("{" + entry("a", "F32", "[-2]", "[0,8]") + "}", eight), {"extents", "-2"});
  expect_bad(dir, safetensors_bytes("{" + entry("a", "F32", "[2.0]", "[0,8]") + "}", eight), {"extents", "2.0"});
  expect_bad(dir, safetensors_bytes("{" + entry("a", "F32", "[\"2\"]", "[0,8]") + "}", eight), {"extents"});
  expect_bad(dir, safetensors_bytes("{" + entry("a", "F32", "[2]", "[0,8,8]") + "}", eight), {"two ascending"});
  expect_bad(dir, safetensors_bytes("{" + entry("a", "F32", "[2]", "[-8,0]") + "}", eight), {"two ascending"});
}

TEST_CASE("safetensors offsets that leave the file, overlap or leave gaps are refused", "[safetensors]") {
  const TempDir dir;
  const auto two = [&](const std::string& first, const std::string& second) {
    return safetensors_bytes("{" + entry("a", "F32", "[1]", first) + "," + entry("b", "F32", "[1]", second) + "}",
                             eight);
  };
  CHECK(read_safetensors(dir.write("ok", two("[4,8]", "[0,4]"))).tensors.size() == 2);
  expect_bad(dir, two("[0,4]", "[0,4]"), {"overlap"});
  expect_bad(dir, two("[0,4]", "[2,6]"), {"overlap"});
  expect_bad(dir, two("[0,4]", "[5,9]"), {"tensor 'b'", "byte 9", "8 bytes"});
  expect_bad(dir, two("[4,0]", "[0,4]"), {"two ascending"});
  expect_bad(dir, two("[0,4]", "[4,18446744073709551615]"), {"two ascending"});
  expect_bad(dir, safetensors_bytes("{" + entry("a", "F32", "[1]", "[4,8]") + "}", eight), {"gap"});
  expect_bad(dir, safetensors_bytes("{" + entry("a", "F32", "[1]", "[0,4]") + "}", eight),
             {"4 bytes of data, found 8", "trailing"});
  expect_bad(dir, safetensors_bytes("{" + entry("a", "F32", "[2]", "[0,8]") + "}", eight.substr(1)),
             {"byte 8", "7 bytes"});
  expect_bad(dir, safetensors_bytes("{}", "x"), {"trailing"});
}

TEST_CASE("safetensors shapes that disagree with their bytes or overflow are refused", "[safetensors]") {
  const TempDir dir;
  expect_bad(dir, safetensors_bytes("{" + entry("a", "F32", "[3]", "[0,8]") + "}", eight),
             {"3 of F32 takes 12 bytes", "span 8"});
  expect_bad(dir, safetensors_bytes("{" + entry("a", "F64", "[2]", "[0,8]") + "}", eight), {"takes 16 bytes"});
  // 2^62 * 4 * 4 and 2^32 * 2^32 * ... wrap around to small numbers in 64 bits
  expect_bad(dir, safetensors_bytes("{" + entry("a", "F32", "[4611686018427387904,4]", "[0,0]") + "}", ""),
             {"overflows"});
  expect_bad(dir, safetensors_bytes("{" + entry("a", "U8", "[4294967296,4294967296]", "[0,0]") + "}", ""),
             {"overflows"});
  expect_bad(dir, safetensors_bytes("{" + entry("a", "F32", "[9223372036854775808]", "[0,8]") + "}", eight),
             {"extents"});
}

TEST_CASE("weights that cannot be named or do not fit their shape are refused before a file is made", "[safetensors]") {
  const TempDir dir;
  for (const char* name : {"w.safetensors", "w.npz"}) {
    const auto refused = [&](Weights weights, std::initializer_list<std::string> parts) {
      expect_error(ErrorCode::usage, parts, [&] { write_weights(dir / name, weights); });
    };
    refused({{{"a", {2}, {1.0F}}}, {}}, {"'a'", "(2)", "1 elements"});
    refused({{{"a", {-1}, {}}}, {}}, {"negative"});
    refused({{{"a", {1LL << 40, 1LL << 40}, {}}}, {}}, {"elements"});
    refused({{{"a", {1}, {1.0F}}, {"a", {1}, {1.0F}}}, {}}, {"two tensors named 'a'"});
    refused({{{"", {1}, {1.0F}}}, {}}, {"names"});
    refused({{{"__metadata__", {1}, {1.0F}}}, {}}, {"__metadata__"});
    refused({{{"\xff", {1}, {1.0F}}}, {}}, {"UTF-8"});
    refused({{}, {{"k", "\xff"}}}, {"UTF-8"});
  }
  expect_error(ErrorCode::usage, {".safetensors", "w.txt"}, [&] { write_weights(dir / "w.txt", example); });
  CHECK(dir.list().empty());
}
