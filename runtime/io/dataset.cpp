#include <fmt/format.h>
#include <kindling/dataset.h>
#include <kindling/error.h>

#include <array>
#include <filesystem>
#include <utility>

#include "io/cifar.h"
#include "io/dataset_prepare.h"
#include "io/idx.h"
#include "io/npz.h"
#include "io/safetensors.h"
#include "nn/glyphs.h"

namespace kindling {
namespace {

constexpr std::array<std::pair<std::string_view, Standardisation>, 4> standardisation_names = {
    {{"none", Standardisation::none},
     {"scale", Standardisation::scale},
     {"global", Standardisation::global},
     {"per_feature", Standardisation::per_feature}}};

template <class File>
Samples read_pair(const File& file, const std::string& where, const std::string& x, const std::string& y) {
  for (const std::string& key : {x, y}) {
    if (file.contains(key)) continue;
    std::string names;
    for (const std::string& name : file.names()) names += (names.empty() ? "" : ", ") + name;
    throw Error(ErrorCode::bad_input,
                fmt::format("{}: an array '{}' expected, found {}", where, key, names.empty() ? "no arrays" : names));
  }
  Samples split = io::read_samples(file.open(x));
  split.labels = io::read_labels(file.open(y));
  if (static_cast<std::int64_t>(split.labels.size()) != split.count) {
    throw Error(ErrorCode::bad_input, fmt::format("{}: '{}' holds {} samples but '{}' holds {} labels", where, x,
                                                  split.count, y, split.labels.size()));
  }
  return split;
}

template <class File>
void read_array_file(const File& file, const std::string& where, Dataset& dataset) {
  dataset.train = read_pair(file, where, "x", "y");
  if (file.contains("x_test") || file.contains("y_test")) dataset.test = read_pair(file, where, "x_test", "y_test");
}

void read_folder(const std::filesystem::path& folder, Dataset& dataset) {
  std::string idx_names;
  std::string cifar_names;
  if (io::read_idx_folder(folder, dataset.train, dataset.test, idx_names)) return;
  if (io::read_cifar_folder(folder, dataset.train, dataset.test, cifar_names)) {
    dataset.classes = 10;
    return;
  }
  throw Error(ErrorCode::file,
              fmt::format("no data set in folder '{}'; looked for the IDX files {}, and for the CIFAR-10 files {}",
                          folder.string(), idx_names, cifar_names));
}

void read_path(const std::filesystem::path& path, Dataset& dataset) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) {
    throw Error(
        ErrorCode::file,
        fmt::format("no data set at '{}': a folder, an .npz or .safetensors file, or synthetic:glyphs expected{}",
                    path.string(), error ? " (" + error.message() + ")" : ""));
  }
  std::filesystem::path named = path;
  if (!named.has_filename()) named = named.parent_path();
  dataset.name = named.filename().string();
  const std::string where = fmt::format("'{}'", path.string());
  if (std::filesystem::is_directory(status)) return read_folder(path, dataset);
  if (io::is_zip(path)) return read_array_file(io::NpzFile(path), where, dataset);
  if (path.extension() == ".safetensors") return read_array_file(io::SafetensorsFile(path), where, dataset);
  throw Error(ErrorCode::bad_input,
              fmt::format("{}: a numpy archive or a file named *.safetensors expected, found neither; IDX and CIFAR-10 "
                          "files are given by the folder that holds them",
                          where));
}

}  // namespace

Standardisation parse_standardisation(std::string_view text) {
  for (const auto& [name, value] : standardisation_names) {
    if (name == text) return value;
  }
  throw Error(ErrorCode::usage,
              fmt::format("standardisation none, scale, global or per_feature expected, found '{}'", text));
}

std::string to_string(Standardisation standardisation) {
  for (const auto& [name, value] : standardisation_names) {
    if (value == standardisation) return std::string(name);
  }
  throw Error(ErrorCode::usage, "a standardisation that is none of the enumerators");
}

Dataset load_dataset(const std::string& spec, const DatasetOptions& options, const Context& context) {
  io::check_options(options);
  if (spec.empty())
    throw Error(ErrorCode::usage, "a data set expected: a folder, a file or synthetic:glyphs; found an empty name");
  constexpr std::string_view synthetic = "synthetic:";
  Dataset dataset;
  if (spec.starts_with(synthetic)) {
    const std::string_view rest = std::string_view(spec).substr(synthetic.size());
    const std::string_view name = rest.substr(0, rest.find(':'));
    if (name != "glyphs") {
      throw Error(ErrorCode::usage, fmt::format("synthetic data set 'glyphs' expected, found '{}'", name));
    }
    const GlyphOptions glyphs = parse_glyph_options(rest.size() > name.size() ? rest.substr(name.size() + 1) : "");
    dataset.name = spec;
    dataset.classes = glyph_classes;
    render_glyphs(glyphs, context, dataset.train, dataset.test);
  } else {
    read_path(spec, dataset);
  }
  context.check_stop();
  io::prepare_dataset(dataset, options, context);
  return dataset;
}

}  // namespace kindling
