// The data set of the method benchmarks, and what memory a run needed.
#pragma once

#include <kindling/dataset.h>

#include <memory>
#include <string>

namespace kindling::bench {

/// MNIST's 60,000 training images from the folder `mnist` of KINDLING_DATA, or as many random bytes where that is not
/// set.
std::shared_ptr<const Dataset> bench_dataset();
/// "mnist60000" or "random60000"
std::string bench_dataset_name();
/// The same data's first `count` training samples without other splits.
std::shared_ptr<const Dataset> first_samples(std::int64_t count);

/// How far resident memory rose above where it stood, in MiB.
class PeakMemory {
 public:
  /// Gives free memory back to the system, then starts to watch.
  void start();
  [[nodiscard]] double rise() const;

 private:
  double before_ = 0;
};

}  // namespace kindling::bench
