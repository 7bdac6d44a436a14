#include "io/npz.h"

#include <fmt/format.h>
#include <kindling/error.h>
#include <zip.h>

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include "io/npy_header.h"

namespace kindling::io {
namespace {

struct DiscardArchive {
  void operator()(zip_t* archive) const { zip_discard(archive); }
};
using Archive = std::unique_ptr<zip_t, DiscardArchive>;

[[noreturn]] void fail(const std::filesystem::path& path, const std::string& what) {
  throw Error(ErrorCode::bad_input, fmt::format("'{}': not a sound numpy archive: {}", path.string(), what));
}

Archive open_archive(const std::filesystem::path& path) {
  (void)open_file(path);  // for its clear words when the file cannot be read
  int code = 0;
  Archive archive(zip_open(path.c_str(), ZIP_RDONLY | ZIP_CHECKCONS, &code));
  if (!archive) {
    zip_error_t error;
    zip_error_init_with_code(&error, code);
    const std::string what = zip_error_strerror(&error);
    zip_error_fini(&error);
    fail(path, what);
  }
  return archive;
}

zip_stat_t member_status(const std::filesystem::path& path, zip_t* archive, std::uint64_t index) {
  zip_stat_t status;
  if (zip_stat_index(archive, index, 0, &status) != 0)
    fail(path, fmt::format("member {}: {}", index, zip_strerror(archive)));
  constexpr zip_uint64_t needed = ZIP_STAT_NAME | ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD;
  if ((status.valid & needed) != needed) fail(path, fmt::format("member {} without name or size", index));
  return status;
}

class MemberSource final : public ByteSource {
 public:
  MemberSource(const std::filesystem::path& path, std::uint64_t index) : path_(path), archive_(open_archive(path)) {
    const zip_stat_t status = member_status(path, archive_.get(), index);
    name_ = status.name;
    size_ = status.size;
    if ((status.valid & ZIP_STAT_ENCRYPTION_METHOD) != 0 && status.encryption_method != ZIP_EM_NONE) {
      fail(path, fmt::format("member '{}' is encrypted", name_));
    }
    if (status.comp_method != ZIP_CM_STORE && status.comp_method != ZIP_CM_DEFLATE) {
      fail(path, fmt::format("member '{}' is compressed by method {}; stored or deflated expected", name_,
                             status.comp_method));
    }
    const std::uint64_t packed = std::min<std::uint64_t>(status.comp_size, open_file(path)->most());
    most_ = status.comp_method == ZIP_CM_STORE ? packed : packed * largest_deflate_ratio;
    file_ = zip_fopen_index(archive_.get(), index, 0);
    if (file_ == nullptr) fail(path, fmt::format("member '{}': {}", name_, zip_strerror(archive_.get())));
  }
  MemberSource(const MemberSource&) = delete;
  MemberSource& operator=(const MemberSource&) = delete;
  ~MemberSource() override { zip_fclose(file_); }

  std::size_t read(std::span<std::byte> out) override {
    std::size_t done = 0;
    while (done < out.size()) {
      const zip_int64_t got = zip_fread(file_, out.data() + done, out.size() - done);
      if (got < 0) fail(path_, fmt::format("member '{}': {}", name_, zip_error_strerror(zip_file_get_error(file_))));
      if (got == 0) break;
      done += static_cast<std::size_t>(got);
    }
    return done;
  }
  std::optional<std::uint64_t> size() const override { return size_; }
  std::uint64_t most() const override { return most_; }

 private:
  std::filesystem::path path_;
  Archive archive_;  // outlives file_, which ~MemberSource closes first
  std::string name_;
  zip_file_t* file_ = nullptr;
  std::uint64_t size_ = 0;
  std::uint64_t most_ = 0;
};

}  // namespace

NpzFile::NpzFile(const std::filesystem::path& path) : path_(path) {
  const Archive archive = open_archive(path);
  int length = 0;
  if (const char* comment = zip_get_archive_comment(archive.get(), &length, ZIP_FL_ENC_RAW); comment != nullptr) {
    comment_.assign(comment, static_cast<std::size_t>(length));
  }
  constexpr std::string_view extension = ".npy";
  const zip_int64_t count = zip_get_num_entries(archive.get(), 0);
  for (std::uint64_t i = 0; std::cmp_less(i, count); ++i) {
    const std::string member = member_status(path, archive.get(), i).name;
    if (!member.ends_with(extension)) fail(path, fmt::format("members named *.npy expected, found '{}'", member));
    if (!members_.emplace(member.substr(0, member.size() - extension.size()), i).second) {
      fail(path, fmt::format("member '{}' is there twice", member));
    }
  }
}

std::vector<std::string> NpzFile::names() const {
  std::vector<std::string> names;
  for (const auto& [name, index] : members_) names.push_back(name);
  return names;
}

PendingArray NpzFile::open(const std::string& name) const {
  const auto found = members_.find(name);
  if (found == members_.end()) fail(path_, fmt::format("an array '{}' expected, found none of that name", name));
  PendingArray array;
  array.where = fmt::format("'{}', array '{}'", path_.string(), name);
  array.source = std::make_unique<MemberSource>(path_, found->second);
  read_npy_header(array);
  return array;
}

bool is_zip(const std::filesystem::path& path) {
  std::array<char, 4> magic{};
  const std::size_t got = open_file(path, 0, magic.size())->read(std::as_writable_bytes(std::span(magic)));
  const std::string_view start(magic.data(), got);
  return start == "PK\x03\x04" || start == "PK\x05\x06";
}

}  // namespace kindling::io
