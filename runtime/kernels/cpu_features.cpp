#include "kernels/cpu_features.h"

#include <string>

#if defined(__linux__) && (defined(__aarch64__) || defined(__riscv))
#include <sys/auxv.h>
#endif
#if defined(__linux__) && defined(__aarch64__)
#include <sys/prctl.h>
#endif

namespace kindling::kernels {

#if defined(__x86_64__)

// The compiler's builtins also ask the operating system (XGETBV) whether it saves the registers.
bool cpu_has(std::string_view feature) {
  __builtin_cpu_init();
  if (feature == "sse4.1") return __builtin_cpu_supports("sse4.1") != 0;
  if (feature == "avx") return __builtin_cpu_supports("avx") != 0;
  if (feature == "avx2") return __builtin_cpu_supports("avx2") != 0;
  if (feature == "fma") return __builtin_cpu_supports("fma") != 0;
  // No builtin for F16C in every compiler; each processor with AVX2 has it.
  if (feature == "f16c") return __builtin_cpu_supports("avx2") != 0;
  if (feature == "avx512f") return __builtin_cpu_supports("avx512f") != 0;
  if (feature == "avx512vl") return __builtin_cpu_supports("avx512vl") != 0;
  if (feature == "avx512bw") return __builtin_cpu_supports("avx512bw") != 0;
  if (feature == "avx512dq") return __builtin_cpu_supports("avx512dq") != 0;
  if (feature == "avx512cd") return __builtin_cpu_supports("avx512cd") != 0;
  if (feature == "avx512vnni") return __builtin_cpu_supports("avx512vnni") != 0;
  if (feature == "avx512bf16") return __builtin_cpu_supports("avx512bf16") != 0;
  return false;
}

#elif defined(__linux__) && defined(__aarch64__)

// Bits of the kernel's documentation "ARM64 ELF hwcaps", which older headers lack.
bool cpu_has(std::string_view feature) {
  const unsigned long first = getauxval(AT_HWCAP), second = getauxval(AT_HWCAP2);
  const auto bit = [](unsigned long caps, int n) { return ((caps >> n) & 1) != 0; };
  if (feature == "neon") return bit(first, 1);
  if (feature == "fp16") return bit(first, 10);
  if (feature == "dotprod") return bit(first, 20);
  if (feature == "sve") return bit(first, 22);
  if (feature == "sve2") return bit(second, 1);
  if (feature.starts_with("sve_bits_")) {
    constexpr int get_vector_length = 51;  // PR_SVE_GET_VL; the low 16 bits are the length in bytes
    const int length = prctl(get_vector_length);
    return length > 0 && feature.substr(9) == std::to_string((length & 0xffff) * 8);
  }
  return false;
}

#elif defined(__linux__) && defined(__riscv)

bool cpu_has(std::string_view feature) {
  const bool vectors = ((getauxval(AT_HWCAP) >> ('v' - 'a')) & 1) != 0;
  if (feature == "rvv") return vectors;
  if (feature.starts_with("rvv_bits_") && vectors) {
    unsigned long bytes = 0;
    __asm__("csrr %0, 0xc22" : "=r"(bytes));  // vlenb, by number: the compiler need not know vectors
    return feature.substr(9) == std::to_string(bytes * 8);
  }
  return false;
}

#elif defined(__wasm__)

// An engine refuses a module whose instructions it lacks before anything runs.
bool cpu_has(std::string_view feature) { return feature == "simd128"; }

#else

bool cpu_has(std::string_view) { return false; }

#endif

}  // namespace kindling::kernels
