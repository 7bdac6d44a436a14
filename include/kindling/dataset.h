#pragma once

#include <kindling/context.h>
#include <kindling/error.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace kindling {

/// One split of a data set: samples in rows, contiguous, in the type they came in.
struct Samples {
  std::int64_t count = 0;                  ///< N
  std::int64_t features = 0;               ///< K, the product of sample_shape
  std::vector<std::int64_t> sample_shape;  ///< {K}, or channels x height x width: {1, 28, 28}, {3, 32, 32}
  std::vector<std::uint8_t> bytes;         ///< N x K when the source holds unsigned bytes, else empty
  std::vector<float> floats;               ///< N x K for every other element type, else empty
  std::vector<std::int32_t> labels;        ///< N class numbers

  [[nodiscard]] bool eight_bit() const { return floats.empty() && !bytes.empty(); }
};

/// What is done to the inputs when a batch is read. Statistics come from the training split alone, after the
/// validation split was taken out of it, and use the population formula (division by N).
enum class Standardisation {
  none,        ///< the numbers as they stand: a byte b gives b
  scale,       ///< a byte b gives b / 255; floats stay as they are
  global,      ///< one mean and one standard deviation over all training pixels
  per_feature  ///< a mean and a standard deviation for each feature; a constant feature gives 0
};

/// Parses "none", "scale", "global" or "per_feature". Throws Error{usage}.
Standardisation parse_standardisation(std::string_view text);
/// The inverse of parse_standardisation.
std::string to_string(Standardisation standardisation);

/// How a data set is cut and scaled.
struct DatasetOptions {
  int classes = 0;                    ///< number of classes; 0: largest training label + 1
  std::int64_t limit_train = 0;       ///< only the first n training samples, 0: all
  std::int64_t limit_test = 0;        ///< only the first n test samples, 0: all
  double validation_fraction = 0.0;   ///< share of the (limited) training samples held out, in [0, 1)
  std::int64_t validation_count = 0;  ///< or their number; give one of the two
  /// Share of the samples held out as the test split when the file brings none (x and y only), in [0, 1). This split
  /// does not depend on the seed, so that runs with different seeds are judged on the same samples.
  double test_fraction = 0.2;
  Standardisation standardisation = Standardisation::global;
};

/// Samples of C classes in up to three splits. Inputs of a model are (v - mean[k]) * inverse_std[k], where v is
/// byte / 255 for unsigned bytes and the float itself otherwise.
struct Dataset {
  std::string name;
  int classes = 0;  ///< C
  Samples train;
  Samples validation;              ///< count 0 unless asked for
  Samples test;                    ///< count 0 only for a file without a test split and test_fraction 0
  std::vector<float> mean;         ///< K
  std::vector<float> inverse_std;  ///< K; 0 for a constant feature under Standardisation::per_feature
};

/// Loads a data set named by `spec`:
/// - a folder with the four MNIST-style IDX files, raw or gzip (`train-images-idx3-ubyte`, `train-labels-idx1-ubyte`,
///   `t10k-...`; a '.' may stand for the '-' before `idx`, `.gz` may follow, any IDX element type);
/// - a folder with CIFAR-10 binary batches (`data_batch_1.bin` .. `data_batch_5.bin`, those present, `test_batch.bin`);
/// - an `.npz` or `.safetensors` file with arrays x (N x ...) and y (N), optionally x_test and y_test;
/// - `synthetic:glyphs[:seed=S,train=N,test=M]`, 16 x 16 grey images of 10 classes that the library draws itself
///   (20,000 + 4,000 by default); this data set depends on its own seed, not on the context's.
///
/// The validation split is drawn class by class in proportion (stratified) and is a function of context.seed.
///
/// Throws Error{usage} for options that make no sense, Error{file} for files that are missing or cannot be read, and
/// Error{bad_input} for content that is wrong: damaged files, labels outside the classes, differing counts, no
/// samples, NaN or infinite inputs, fewer than two classes, constant inputs that cannot be standardised.
Dataset load_dataset(const std::string& spec, const DatasetOptions& options, const Context& context);

}  // namespace kindling
