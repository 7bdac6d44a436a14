#include "io/npz.h"

#include <kindling/weights_file.h>
#include <zip.h>

#include <cstdlib>
#include <ctime>
#include <string>
#include <utility>
#include <vector>

#include "io/npy_header.h"
#include "support/expect_error.h"
#include "support/file_bytes.h"
#include "support/sha256.h"
#include "support/temp_dir.h"

using namespace kindling;
using namespace kindling::test;

namespace {

using Members = std::vector<std::pair<std::string, std::string>>;

/// A zip archive as numpy writes one: stored by savez, deflated by savez_compressed.
std::filesystem::path make_zip(const TempDir& dir, const Members& members, bool deflate = false) {
  const auto path = dir / "made.npz";
  std::filesystem::remove(path);
  zip_t* archive = zip_open(path.c_str(), ZIP_CREATE | ZIP_EXCL, nullptr);
  for (const auto& [name, bytes] : members) {
    const auto index =
        zip_file_add(archive, name.c_str(), zip_source_buffer(archive, bytes.data(), bytes.size(), 0), 0);
    zip_set_file_compression(archive, static_cast<zip_uint64_t>(index), deflate ? ZIP_CM_DEFLATE : ZIP_CM_STORE, 0);
  }
  REQUIRE(zip_close(archive) == 0);
  return path;
}

std::string dictionary(const std::string& descr, const std::string& shape, bool fortran = false) {
  return "{'descr': '" + descr + "', 'fortran_order': " + (fortran ? "True" : "False") + ", 'shape': " + shape + ", }";
}

std::vector<float> floats_of(const TempDir& dir, const std::string& npy) {
  return io::read_floats(io::NpzFile(make_zip(dir, {{"a.npy", npy}})).open("a"));
}

void expect_bad(const std::filesystem::path& path, std::initializer_list<std::string> parts) {
  expect_error(ErrorCode::bad_input, {path.string()}, [&] { (void)read_npz(path); });
  expect_error(ErrorCode::bad_input, parts, [&] { (void)read_npz(path); });
}
void expect_bad_array(const TempDir& dir, const std::string& npy, std::initializer_list<std::string> parts) {
  expect_bad(make_zip(dir, {{"a.npy", npy}}), parts);
}

const Weights example{{{"layers.1.bias", {3}, {-1.0F, 0.5F, 3.25F}},
                       {"layers.0.weight", {2, 3}, {1, 2, 3, 4, 5, 6}},
                       {"scalar", {}, {7}},
                       {"none", {0, 5}, {}}},
                      {{"model", "3-2"}}};
using Floats = std::vector<float>;

}  // namespace

TEST_CASE("npz weights come back as they were written, sorted by name", "[npz]") {
  const TempDir dir;
  write_npz(dir / "w.npz", example);
  const Weights back = read_npz(dir / "w.npz");
  CHECK(back.metadata == example.metadata);
  REQUIRE(back.tensors.size() == 4);
  CHECK(back.tensors[0] == example.tensors[1]);
  CHECK(back.tensors[1] == example.tensors[0]);
  CHECK(back.tensors[2] == example.tensors[3]);
  CHECK(back.tensors[3] == example.tensors[2]);
  CHECK(read_weights(dir / "w.npz").tensors == back.tensors);
  write_npz(dir / "empty.npz", {{}, {{"k", "v"}}});
  CHECK(read_weights(dir / "empty.npz").tensors.empty());
  CHECK(read_npz(dir / "empty.npz").metadata.at("k") == "v");
}

TEST_CASE("npz bytes depend on the weights alone", "[npz]") {
  const TempDir dir;
  write_npz(dir / "a.npz", example);
  Weights turned = example;
  std::swap(turned.tensors[0], turned.tensors[2]);
  const char* old = std::getenv("TZ");
  const std::string zone = old != nullptr ? old : "";
  for (const char* elsewhere : {"Asia/Tokyo", "UTC+11", "UTC-14"}) {
    ::setenv("TZ", elsewhere, 1);
    ::tzset();
    write_npz(dir / "b.npz", turned);
    CHECK(sha256(dir.read("a.npz")) == sha256(dir.read("b.npz")));
  }
  if (old != nullptr) {
    ::setenv("TZ", zone.c_str(), 1);
  } else {
    ::unsetenv("TZ");
  }
  ::tzset();
}

TEST_CASE("metadata that an archive comment cannot hold are refused", "[npz]") {
  const TempDir dir;
  Weights weights = example;
  weights.metadata["long"] = std::string(65'536, 'x');
  expect_error(ErrorCode::usage, {"65,535"}, [&] { write_npz(dir / "w.npz", weights); });
  CHECK(dir.list().empty());
}

TEST_CASE("an archive's foreign comment is no metadata", "[npz]") {
  const TempDir dir;
  const auto path = make_zip(dir, {{"a.npy", npy_bytes(dictionary("<f4", "(1,)"), std::string(4, '\0'))}});
  zip_t* archive = zip_open(path.c_str(), 0, nullptr);
  zip_set_archive_comment(archive, "made by hand", 12);
  REQUIRE(zip_close(archive) == 0);
  CHECK(read_npz(path).metadata.empty());
}

TEST_CASE("numpy arrays of every number type are read", "[npz]") {
  const TempDir dir;
  const auto one = [&](const std::string& descr, const std::string& data) {
    return floats_of(dir, npy_bytes(dictionary(descr, "(2,)"), data));
  };
  CHECK(one("<f4", little_endian(Floats{0.1F, -2.0F})) == Floats{0.1F, -2.0F});
  CHECK(one(">f4", big_endian(Floats{0.1F, -2.0F})) == Floats{0.1F, -2.0F});
  CHECK(one("<f8", little_endian(std::vector<double>{0.1, -2.0})) == Floats{0.1F, -2.0F});
  CHECK(one("<f2", little_endian(std::vector<std::uint16_t>{0x3c00, 0xbc00})) == Floats{1.0F, -1.0F});
  CHECK(one("|u1", "\x01\xff") == Floats{1.0F, 255.0F});
  CHECK(one("|i1", "\x01\xff") == Floats{1.0F, -1.0F});
  CHECK(one("<i2", little_endian(std::vector<std::int16_t>{-300, 300})) == Floats{-300.0F, 300.0F});
  CHECK(one("<u2", little_endian(std::vector<std::uint16_t>{1, 65535})) == Floats{1.0F, 65535.0F});
  CHECK(one("<i4", little_endian(std::vector<std::int32_t>{-70000, 2})) == Floats{-70000.0F, 2.0F});
  CHECK(one("<u4", little_endian(std::vector<std::uint32_t>{1U << 31U, 2})) == Floats{2147483648.0F, 2.0F});
  CHECK(one("<i8", little_endian(std::vector<std::int64_t>{-1, 1LL << 40})) == Floats{-1.0F, 1099511627776.0F});
  CHECK(one("<u8", little_endian(std::vector<std::uint64_t>{1, 1ULL << 63U})) == Floats{1.0F, 9223372036854775808.0F});
}

TEST_CASE("deflated members and header versions 1 to 3 are read", "[npz]") {
  const TempDir dir;
  const std::string text = dictionary("<f4", "(2, 3)") + "   \n";
  const std::string data = little_endian(Floats{1, 2, 3, 4, 5, 6});
  const auto length = static_cast<std::uint32_t>(text.size());
  for (const char version : {'\2', '\3'}) {
    const std::string npy =
        "\x93NUMPY" + std::string{version, '\0'} + little_endian(std::vector<std::uint32_t>{length}) + text + data;
    const io::NpzFile file(make_zip(dir, {{"x.npy", npy}, {"y.npy", npy_bytes(text, data)}}, true));
    CHECK(file.names() == std::vector<std::string>{"x", "y"});
    CHECK(file.open("x").shape == std::vector<std::int64_t>{2, 3});
    CHECK(io::read_floats(file.open("x")) == Floats{1, 2, 3, 4, 5, 6});
    CHECK(io::read_floats(file.open("y")) == Floats{1, 2, 3, 4, 5, 6});
  }
}

TEST_CASE("arrays in Fortran order are turned", "[npz]") {
  const TempDir dir;
  CHECK(floats_of(dir, npy_bytes(dictionary("<f4", "(2, 3)", true), little_endian(Floats{1, 4, 2, 5, 3, 6}))) ==
        Floats{1, 2, 3, 4, 5, 6});
  Floats values(24);
  Floats fortran(24);
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 3; ++j) {
      for (int k = 0; k < 4; ++k) {
        values[static_cast<std::size_t>((i * 3 + j) * 4 + k)] = static_cast<float>(100 * i + 10 * j + k);
        fortran[static_cast<std::size_t>(i + 2 * (j + 3 * k))] = static_cast<float>(100 * i + 10 * j + k);
      }
    }
  }
  CHECK(floats_of(dir, npy_bytes(dictionary("<f4", "(2, 3, 4)", true), little_endian(fortran))) == values);
  const auto path = make_zip(dir, {{"a.npy", npy_bytes(dictionary("|u1", "(2, 3)", true), "adbecf")}});
  const Samples s = io::read_samples(io::NpzFile(path).open("a"));
  CHECK(std::string(s.bytes.begin(), s.bytes.end()) == "abcdef");
}

TEST_CASE("files that are no numpy archive are refused", "[npz]") {
  const TempDir dir;
  const std::string npy = npy_bytes(dictionary("<f4", "(1,)"), std::string(4, '\0'));
  expect_bad(dir.write("text.npz", "just text"), {"not a sound numpy archive"});
  expect_bad(dir.write("empty.npz", ""), {"not a sound numpy archive"});
  expect_bad(make_zip(dir, {{"a.txt", npy}}), {"*.npy expected", "a.txt"});
  expect_error(ErrorCode::file, {"absent", "No such file"}, [&] { (void)read_npz(dir / "absent"); });
  expect_error(ErrorCode::bad_input, {"array 'b' expected"}, [&] {
    (void)io::NpzFile(make_zip(dir, {{"a.npy", npy}})).open("b");
  });
}

TEST_CASE("cut and corrupt archives are refused", "[npz]") {
  const TempDir dir;
  const std::string npy = npy_bytes(dictionary("<f4", "(500,)"), little_endian(Floats(500, 1.5F)));
  for (const bool deflate : {false, true}) {
    make_zip(dir, {{"a.npy", npy}}, deflate);
    const std::string bytes = dir.read("made.npz");
    expect_bad(dir.write("cut.npz", bytes.substr(0, bytes.size() / 2)), {});
    expect_bad(dir.write("cut.npz", bytes.substr(0, bytes.size() - 1)), {});
    std::string broken = bytes;
    const std::size_t inside = deflate ? 60 : 600;
    broken[inside] = static_cast<char>(broken[inside] ^ 4);
    expect_bad(dir.write("bits.npz", broken), {});
  }
}

TEST_CASE("two members of one name are refused", "[npz]") {
  const TempDir dir;
  const std::string npy = npy_bytes(dictionary("<f4", "(1,)"), std::string(4, '\0'));
  make_zip(dir, {{"a.npy", npy}, {"b.npy", npy}});
  std::string bytes = dir.read("made.npz");
  for (std::size_t at = bytes.find("b.npy"); at != std::string::npos; at = bytes.find("b.npy")) bytes[at] = 'a';
  expect_bad(dir.write("twice.npz", bytes), {"twice"});
}

TEST_CASE("numpy headers that are damaged or hold no numbers are refused", "[npz]") {
  const TempDir dir;
  const std::string four(4, '\0');
  const std::string good = npy_bytes(dictionary("<f4", "(1,)"), four);
  CHECK(floats_of(dir, good).size() == 1);
  expect_bad_array(dir, "", {"found 0 bytes"});
  expect_bad_array(dir, "\x93NUMPX" + good.substr(6), {"magic"});
  expect_bad_array(dir, good.substr(0, 6) + "\x04" + good.substr(7), {"version", "4.0"});
  expect_bad_array(dir, good.substr(0, 9), {"truncated"});
  expect_bad_array(dir, good.substr(0, 30), {"header of"});
  expect_bad_array(dir, "\x93NUMPY" + std::string("\2\0", 2) + std::string(4, '\x7f') + "{}",
                   {"1048576 bytes at most"});
  const auto bad = [&](const std::string& text, std::initializer_list<std::string> parts) {
    expect_bad_array(dir, npy_bytes(text, four), parts);
  };
  bad(dictionary("|O", "(1,)"), {"pickled", "|O"});
  bad(dictionary("<c8", "(1,)"), {"<c8"});
  bad(dictionary("|b1", "(1,)"), {"|b1"});
  bad(dictionary("|f4", "(1,)"), {"|f4"});
  bad(dictionary("<U1", "(1,)"), {"<U1"});
  bad("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", {"structure"});
  bad(dictionary("<f4", "(-1,)"), {"extent"});
  bad(dictionary("<f4", "(1.0,)"), {"')'"});
  bad(dictionary("<f4", "(99999999999999999999,)"), {"extent"});
  bad(dictionary("<f4", "1"), {"'('"});
  bad("{'descr': '<f4', 'shape': (1,), }", {"fortran_order"});
  bad("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", {"descr"});
  bad("{'descr': '<f4', 'fortran_order': Maybe, 'shape': (1,), }", {"True or False"});
  bad(dictionary("<f4", "(1,)") + "x", {"after the dictionary"});
  bad("", {"'{'"});
  bad("{'descr", {"without end"});
}

TEST_CASE("numpy arrays that do not fit their header are refused with expected and found bytes", "[npz]") {
  const TempDir dir;
  const auto bad = [&](const std::string& shape, std::initializer_list<std::string> parts) {
    expect_bad_array(dir, npy_bytes(dictionary("<f4", shape), std::string(16, '\0')), parts);
  };
  bad("(5,)", {"5 of float32", "truncated"});
  bad("(3,)", {"trailing"});
  bad("(4611686018427387904, 4611686018427387904)", {"more than any file can hold"});
  bad("(1099511627776,)", {"truncated"});
  CHECK(floats_of(dir, npy_bytes(dictionary("<f4", "(4L,)"), std::string(16, '\0'))).size() == 4);
}

TEST_CASE("an archive cannot promise more than its bytes can unpack to", "[npz]") {
  const TempDir dir;
  const std::string npy = npy_bytes(dictionary("|u1", "(9000000000,)"), std::string(64, '\0'));
  make_zip(dir, {{"a.npy", npy}}, true);
  std::string bytes = dir.read("made.npz");
  // The uncompressed sizes in the local header and the central directory: 32 bits each, here raised to almost 4 GiB.
  const std::string truth = little_endian(std::vector<std::uint32_t>{static_cast<std::uint32_t>(npy.size())});
  int raised = 0;
  for (std::size_t at = bytes.find(truth); at != std::string::npos; at = bytes.find(truth, at + 4)) {
    bytes.replace(at, 4, "\xf0\xff\xff\xff");
    ++raised;
  }
  REQUIRE(raised == 2);
  expect_bad(dir.write("bomb.npz", bytes), {});
}
