// The real data sets, where KINDLING_DATA names a folder that has them; skipped, with the reason, where it does not.
#include <kindling/ibci.h>
#include <kindling/initialize.h>
#include <kindling/train.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <iostream>

#include "support/catch.h"

using namespace kindling;

namespace {

// The folder of one data set, or nothing; ctest looks for the word "skipped:".
std::string real_data(const char* name) {
  const char* root = std::getenv("KINDLING_DATA");
  const std::string folder = root == nullptr ? "" : std::string(root) + "/" + name;
  if (root == nullptr) {
    std::cout << "skipped: KINDLING_DATA is not set\n";
  } else if (!std::filesystem::is_directory(folder)) {
    std::cout << "skipped: there is no folder " << folder << '\n';
    return "";
  }
  return folder;
}

}  // namespace

TEST_CASE("MNIST is read, standardised, learned, and chosen from", "[real_data]") {
  const std::string folder = real_data("mnist");
  if (folder.empty()) return;
  const Context context{.seed = 1};
  const Dataset data = load_dataset(folder, {.validation_count = 5000}, context);
  CHECK(data.train.count == 55000);
  CHECK(data.validation.count == 5000);
  CHECK(data.test.count == 10000);
  CHECK(data.classes == 10);
  // Mean 0.1307 and deviation 0.3081 of the 60,000 training images, as everybody knows them.
  CHECK(data.mean.front() == Approx(0.1307).margin(3e-4));
  CHECK(1 / data.inverse_std.front() == Approx(0.3081).margin(3e-4));

  Model model = Model::parse("784-100-10");
  const IbciReport report = initialize_ibci(model, data, {.samples = 10000}, context);
  CHECK(report.layers[0].input_criterion_chosen > report.layers[0].input_criterion_refused);
  TrainOptions options;
  options.epochs = 2;
  const TrainResult result = train(model, data, options, context);
  CHECK(result.epochs.front().test_error > 0.7);
  CHECK(result.epochs.back().test_error < 0.05);
}

TEST_CASE("CIFAR-10 batches are read", "[real_data]") {
  const std::string folder = real_data("cifar10");
  if (folder.empty()) return;
  const Dataset data = load_dataset(folder, {.limit_train = 5000}, {});
  CHECK(data.train.features == 3072);
  CHECK(data.train.sample_shape == std::vector<std::int64_t>{3, 32, 32});
  CHECK(data.train.count == 5000);
  CHECK(data.test.count == 1000 * 10);
}
