// The C interface from C++: callable from several threads at once, each with its own message.
#include <kindling/kernels.h>

#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

namespace {

std::atomic<int> failures{0};

void check(bool ok, const char* what) {
  if (ok) return;
  ++failures;
  std::fprintf(stderr, "failed: %s (%s)\n", what, kindling_last_error());
}

// Moments of normal draws, ten calls in each thread; odd threads err on purpose.
void work(int number) {
  std::vector<float> draws(100000);
  std::vector<double> mean(10), variance(10);
  for (int call = 0; call < 10; ++call) {
    const kindling_context context = {nullptr, 1 + call % 2};
    const kindling_stream stream = {42, 300, static_cast<uint32_t>(number), static_cast<uint32_t>(call)};
    const float stddev = number % 2 == 0 ? 2.0F : -static_cast<float>(number);
    const kindling_vector out = {draws.data(), 100000};
    const kindling_status status = kindling_philox_normal(&context, stream, 0, 1.0F, stddev, out);
    if (number % 2 == 1) {
      check(status == KINDLING_USAGE, "a negative deviation is refused");
      const std::string expected = "found 1 and -" + std::to_string(number);
      check(std::strstr(kindling_last_error(), expected.c_str()) != nullptr, "the message is this thread's own");
      continue;
    }
    check(status == KINDLING_OK, "normals");
    const kindling_const_matrix matrix = {draws.data(), 10000, 10, 0};
    check(kindling_feature_moments(&context, matrix, {mean.data(), 10}, {variance.data(), 10}) == KINDLING_OK,
          "moments");
    // Standard deviations of the sample's mean and variance: 2 / 100 and 4 sqrt(2) / 100.
    check(std::abs(mean[3] - 1) < 5 * 0.02 && std::abs(variance[7] - 4) < 5 * 0.057, "their values");
    check(std::strlen(kindling_last_error()) == 0, "no message of another thread");
  }
}

}  // namespace

int main() {
  std::vector<std::thread> threads;
  for (int i = 0; i < 6; ++i) threads.emplace_back(work, i);
  for (std::thread& t : threads) t.join();
  return failures == 0 ? 0 : 1;
}
