#include "peak.h"

#include <immintrin.h>

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <thread>

namespace kindling::bench {
namespace {

using Clock = std::chrono::steady_clock;

// The operands come from memory that the compiler cannot see through; multiplying by 1 and adding 0 keeps the numbers
// normal however long the loop runs.
volatile float one = 1.0F;
volatile float zero = 0.0F;
volatile float sink = 0.0F;

// Twelve independent chains: more than latency (4 or 5 cycles) times throughput (2 a cycle) of any x86 core so far, and
// they fit into sixteen registers together with both operands.
constexpr int chains = 12;

// Without a fused instruction a multiplication and an addition are two, and run side by side in different units.
void loop_sse(std::int64_t steps) {
  const __m128 m = _mm_set1_ps(one);
  const __m128 c = _mm_set1_ps(zero);
  __m128 p[chains / 2], s[chains / 2];
  for (int i = 0; i < chains / 2; ++i) p[i] = s[i] = _mm_set1_ps(one);
  for (std::int64_t n = 0; n < steps; ++n) {
#pragma GCC unroll 6
    for (int i = 0; i < chains / 2; ++i) {
      p[i] = _mm_mul_ps(p[i], m);
      s[i] = _mm_add_ps(s[i], c);
    }
  }
  __m128 total = c;
  for (int i = 0; i < chains / 2; ++i) total = _mm_add_ps(total, _mm_add_ps(p[i], s[i]));
  sink = _mm_cvtss_f32(total);
}

__attribute__((target("avx2,fma"))) void loop_avx2(std::int64_t steps) {
  const __m256 m = _mm256_set1_ps(one);
  const __m256 c = _mm256_set1_ps(zero);
  __m256 s[chains];
  for (int i = 0; i < chains; ++i) s[i] = m;
  for (std::int64_t n = 0; n < steps; ++n) {
#pragma GCC unroll 12
    for (int i = 0; i < chains; ++i) s[i] = _mm256_fmadd_ps(s[i], m, c);
  }
  __m256 total = c;
  for (int i = 0; i < chains; ++i) total = _mm256_add_ps(total, s[i]);
  sink = _mm256_cvtss_f32(total);
}

__attribute__((target("avx512f"))) void loop_avx512(std::int64_t steps) {
  const __m512 m = _mm512_set1_ps(one);
  const __m512 c = _mm512_set1_ps(zero);
  __m512 s[chains];
  for (int i = 0; i < chains; ++i) s[i] = m;
  for (std::int64_t n = 0; n < steps; ++n) {
#pragma GCC unroll 12
    for (int i = 0; i < chains; ++i) s[i] = _mm512_fmadd_ps(s[i], m, c);
  }
  __m512 total = c;
  for (int i = 0; i < chains; ++i) total = _mm512_add_ps(total, s[i]);
  sink = _mm512_cvtss_f32(total);
}

struct Loop {
  void (*run)(std::int64_t);
  double flops_per_step;
};

Loop find_loop(const std::string& isa) {
  if (isa == "avx512") return {loop_avx512, chains * 16 * 2.0};
  if (isa == "avx2") return {loop_avx2, chains * 8 * 2.0};
  if (isa == "sse") return {loop_sse, chains * 4 * 1.0};
  throw std::invalid_argument("peak: unknown instruction set '" + isa + "'");
}

// Runs work(thread) on all threads from one starting line; returns the sum of units / seconds of each.
template <class Body>
double together(int threads, double units_per_thread, const Body& body) {
  std::barrier start(threads);
  std::vector<double> rates(static_cast<std::size_t>(threads));
  const auto job = [&](int t) {
    start.arrive_and_wait();
    const auto begin = Clock::now();
    body(t);
    rates[static_cast<std::size_t>(t)] = units_per_thread / std::chrono::duration<double>(Clock::now() - begin).count();
  };
  {
    std::vector<std::jthread> others;
    for (int t = 1; t < threads; ++t) others.emplace_back(job, t);
    job(0);
  }
  double sum = 0;
  for (const double r : rates) sum += r;
  return sum;
}

}  // namespace

const std::vector<std::string>& multiply_add_isas() {
  static const std::vector<std::string> isas = [] {
    std::vector<std::string> found{"sse"};
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) found.emplace_back("avx2");
    if (__builtin_cpu_supports("avx512f")) found.emplace_back("avx512");
    return found;
  }();
  return isas;
}

double multiply_add_rate(const std::string& isa, int threads) {
  const Loop loop = find_loop(isa);
  constexpr std::int64_t steps = 600'000;  // of 6 or 12 cycles
  return together(threads, loop.flops_per_step * steps, [&](int) { loop.run(steps); });
}

double stream_rate(Stream kind, int threads) {
  constexpr std::size_t bytes = std::size_t{64} << 20U;
  constexpr std::size_t count = bytes / sizeof(float);
  struct Arrays {
    std::unique_ptr<float[]> a{new float[count]}, b{new float[count]}, c{new float[count]};
    Arrays() {
      std::fill_n(a.get(), count, 1.0F);
      std::fill_n(b.get(), count, 2.0F);
      std::fill_n(c.get(), count, 3.0F);
    }
  };
  static const Arrays arrays;
  const std::size_t share = count / static_cast<std::size_t>(threads);
  const double touched = kind == Stream::read ? 1 : kind == Stream::copy ? 2 : 3;
  return together(threads, touched * static_cast<double>(share * sizeof(float)), [&](int t) {
    const std::size_t first = share * static_cast<std::size_t>(t);
    float* __restrict a = arrays.a.get() + first;
    const float* __restrict b = arrays.b.get() + first;
    const float* __restrict c = arrays.c.get() + first;
    if (kind == Stream::read) {
      // As integers, whose sum may be vectorised in any order.
      std::uint32_t sum = 0;
      const auto* words = reinterpret_cast<const std::uint32_t*>(b);
      for (std::size_t i = 0; i < share; ++i) sum += words[i];
      sink = static_cast<float>(sum);
    } else if (kind == Stream::copy) {
      std::memcpy(a, b, share * sizeof(float));
    } else {
      const float s = one;
      for (std::size_t i = 0; i < share; ++i) a[i] = b[i] + s * c[i];
    }
  });
}

const char* to_string(Stream kind) { return kind == Stream::read ? "read" : kind == Stream::copy ? "copy" : "triad"; }

}  // namespace kindling::bench
