#include "kernels/cpu_features.h"

namespace kindling::kernels {

// The compiler's builtins also ask the operating system (XGETBV) whether it saves the registers.
bool cpu_has(std::string_view feature) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (feature == "sse4.1") return __builtin_cpu_supports("sse4.1") != 0;
  if (feature == "avx2") return __builtin_cpu_supports("avx2") != 0;
  if (feature == "fma") return __builtin_cpu_supports("fma") != 0;
  // No builtin for F16C in every compiler; each processor with AVX2 has it.
  if (feature == "f16c") return __builtin_cpu_supports("avx2") != 0;
  if (feature == "avx512f") return __builtin_cpu_supports("avx512f") != 0;
  if (feature == "avx512vl") return __builtin_cpu_supports("avx512vl") != 0;
  if (feature == "avx512bw") return __builtin_cpu_supports("avx512bw") != 0;
  if (feature == "avx512dq") return __builtin_cpu_supports("avx512dq") != 0;
  if (feature == "avx512cd") return __builtin_cpu_supports("avx512cd") != 0;
#endif
  return false;
}

}  // namespace kindling::kernels
