#include "io/npy_header.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <kindling/error.h>

#include <array>
#include <charconv>
#include <string_view>
#include <utility>

namespace kindling::io {
namespace {

constexpr std::string_view npy_magic = "\x93NUMPY";
constexpr std::uint64_t largest_header = std::uint64_t{1} << 20;

/// The few Python literals that numpy writes: strings without escapes, True and False, tuples of integers.
class LiteralParser {
 public:
  LiteralParser(std::string_view text, const std::string& where) : text_(text), where_(where) {}

  NpyHeader parse() {
    NpyHeader header;
    bool descr = false;
    bool order = false;
    bool shape = false;
    expect('{');
    while (!accept('}')) {
      const std::string key = string();
      expect(':');
      if (key == "descr" && !std::exchange(descr, true)) {
        if (peek() != '\'' && peek() != '"') fail("numbers expected as elements, found a structure");
        std::tie(header.type, header.big_endian) = element(string());
      } else if (key == "fortran_order" && !std::exchange(order, true)) {
        header.fortran_order = boolean();
      } else if (key == "shape" && !std::exchange(shape, true)) {
        header.shape = tuple();
      } else {
        fail(fmt::format("unexpected or repeated key '{}'", key));
      }
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    if (peek() != '\0') fail("text after the dictionary");
    if (!descr || !order || !shape) fail("keys descr, fortran_order and shape expected");
    return header;
  }

 private:
  char peek() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool accept(char c) {
    if (peek() != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!accept(c)) fail(fmt::format("'{}' expected at character {}", c, at_));
  }
  std::string string() {
    const char quote = peek();
    if (quote != '\'' && quote != '"') fail(fmt::format("a string expected at character {}", at_));
    const std::size_t end = text_.find(quote, at_ + 1);
    if (end == std::string_view::npos) fail("a string without end");
    const std::string value(text_.substr(at_ + 1, end - at_ - 1));
    at_ = end + 1;
    return value;
  }
  bool boolean() {
    peek();
    for (const auto& [word, value] :
         {std::pair{std::string_view("True"), true}, std::pair{std::string_view("False"), false}}) {
      if (text_.substr(at_).starts_with(word)) {
        at_ += word.size();
        return value;
      }
    }
    fail("fortran_order of True or False expected");
  }
  std::vector<std::int64_t> tuple() {
    std::vector<std::int64_t> extents;
    expect('(');
    while (!accept(')')) {
      std::int64_t extent = 0;
      peek();
      const auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), extent);
      if (error != std::errc{} || extent < 0)
        fail(fmt::format("an extent from 0 to 2^63 - 1 expected at character {}", at_));
      at_ = static_cast<std::size_t>(end - text_.data());
      accept('L');  // written by Python 2
      extents.push_back(extent);
      if (!accept(',')) {
        expect(')');
        break;
      }
    }
    return extents;
  }
  [[nodiscard]] std::pair<ElementType, bool> element(const std::string& descr) const {
    constexpr std::array<std::pair<std::string_view, ElementType>, 11> types = {{{"u1", ElementType::u8},
                                                                                 {"i1", ElementType::i8},
                                                                                 {"u2", ElementType::u16},
                                                                                 {"i2", ElementType::i16},
                                                                                 {"u4", ElementType::u32},
                                                                                 {"i4", ElementType::i32},
                                                                                 {"u8", ElementType::u64},
                                                                                 {"i8", ElementType::i64},
                                                                                 {"f2", ElementType::f16},
                                                                                 {"f4", ElementType::f32},
                                                                                 {"f8", ElementType::f64}}};
    if (descr.size() == 3 && std::string_view("<>=|").find(descr[0]) != std::string_view::npos) {
      for (const auto& [name, type] : types) {
        // '|' (no byte order) is for single bytes only.
        if (descr.substr(1) == name && (descr[0] != '|' || element_size(type) == 1)) return {type, descr[0] == '>'};
      }
    }
    fail(fmt::format("elements u1, i1, u2, i2, u4, i4, u8, i8, f2, f4 or f8 expected, found '{}'{}", descr,
                     descr.find('O') != std::string::npos ? " (pickled Python objects)" : ""));
  }
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorCode::bad_input, fmt::format("{}: not a numpy array that can be read: {}", where_, what));
  }

  std::string_view text_;
  const std::string& where_;
  std::size_t at_ = 0;
};

}  // namespace

NpyHeader parse_npy_header(const std::string& text, const std::string& where) {
  return LiteralParser(text, where).parse();
}

void read_npy_header(PendingArray& array) {
  const auto fail = [&](const std::string& what) {
    throw Error(ErrorCode::bad_input, fmt::format("{}: not a numpy array: {}", array.where, what));
  };
  std::array<std::byte, 8> start{};
  const std::size_t got = array.source->read(start);
  if (got < start.size()) fail(fmt::format("8 bytes of magic and version expected, found {} bytes", got));
  if (std::string_view(reinterpret_cast<const char*>(start.data()), npy_magic.size()) != npy_magic)
    fail("its magic bytes are missing");
  const int version = std::to_integer<int>(start[6]);
  if (version < 1 || version > 3 || start[7] != std::byte{0}) {
    fail(fmt::format("format version 1.0, 2.0 or 3.0 expected, found {}.{}", version, std::to_integer<int>(start[7])));
  }
  std::array<std::byte, 4> field{};
  const auto length_bytes = std::span(field).first(version == 1 ? 2 : 4);
  if (array.source->read(length_bytes) < length_bytes.size()) fail("truncated in its header");
  std::uint64_t length = 0;
  for (std::size_t i = length_bytes.size(); i-- > 0;)
    length = length << 8 | std::to_integer<std::uint64_t>(length_bytes[i]);
  if (length > largest_header)
    fail(fmt::format("a header of {} bytes at most expected, found {}", largest_header, length));
  std::string text(length, '\0');
  if (const std::size_t n = array.source->read(std::as_writable_bytes(std::span(text))); n < length) {
    fail(fmt::format("a header of {} bytes expected, found {}", length, n));
  }
  NpyHeader header = parse_npy_header(text, array.where);
  array.type = header.type;
  array.big_endian = header.big_endian;
  array.fortran_order = header.fortran_order;
  array.shape = std::move(header.shape);
  array.header_bytes = start.size() + length_bytes.size() + length;
}

std::string npy_float_header(const std::vector<std::int64_t>& shape) {
  std::string text = fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}{}), }}",
                                 fmt::join(shape, ", "), shape.size() == 1 ? "," : "");
  constexpr std::size_t prefix = 10;  // magic, version, 16-bit length
  text.append(63 - (prefix + text.size()) % 64, ' ');
  text += '\n';
  std::string header(npy_magic);
  header += '\x01';
  header += '\0';
  header += static_cast<char>(text.size() & 0xff);
  header += static_cast<char>(text.size() >> 8);
  return header + text;
}

}  // namespace kindling::io
