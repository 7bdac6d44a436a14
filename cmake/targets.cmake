# One row per hardware target: name, kind, Halide target, and what the processor must have to run it (names as in
# runtime/kernels/cpu_features.cpp). A build has the rows of its own processor; `./dev cross <row>` builds another's. CPU
# rows stand in order of preference, the best last; GPU rows are used only when asked for by name. A new row is compiled
# for every kernel and tested like the others; `./dev retarget` writes one.
#
#                   name    kind  Halide target                                        requires
kindling_add_target(sse41   cpu   x86-64-linux-sse41                                   sse4.1)
kindling_add_target(avx2    cpu   x86-64-linux-sse41-avx-f16c-fma-avx2                 avx2 fma f16c)
kindling_add_target(avx512  cpu   x86-64-linux-sse41-avx-f16c-fma-avx2-avx512-avx512_skylake  avx2 fma f16c avx512f avx512vl avx512bw avx512dq avx512cd)
kindling_add_target(opencl  gpu   x86-64-linux-sse41-opencl                            opencl)
kindling_add_target(cuda    gpu   x86-64-linux-sse41-cuda-cuda_capability_80           cuda)
kindling_add_target(arm64   cpu   arm-64-linux                                         neon)
kindling_add_target(sve2    cpu   arm-64-linux-sve2-vector_bits_128                    sve2 sve_bits_128)
kindling_add_target(rvv     cpu   riscv-64-linux-rvv-vector_bits_128                   rvv rvv_bits_128)
kindling_add_target(wasm    cpu   wasm-32-wasmrt-wasm_simd128-wasm_bulk_memory         simd128)

# What Halide 21 has no valid code for. SVE2: its assertions about scalable vectors fail. RVV: its vp intrinsics have
# arguments of the wrong type, for selections and float64.
kindling_compile_as(sve2 "^(dense_weight_(gradient|sgd|momentum|adam)$|covariance|perturbed_|philox_(words|uniform|normal|exponential|beta|simplex)|patches)" arm-64-linux)
kindling_compile_as(rvv "^(campaign_step|conv2d_winograd_|dense_moments|donsker_varadhan|philox_simplex|scatter_criteria|patches|stored_scatter|transpose_samples)" c_source)

# The one Halide runtime that all rows of a processor share: every device interface that a row uses.
set(KINDLING_RUNTIME_TARGET_x86_64 x86-64-linux-cuda-opencl)
set(KINDLING_RUNTIME_TARGET_aarch64 arm-64-linux-cuda-opencl)
set(KINDLING_RUNTIME_TARGET_riscv64 riscv-64-linux-rvv-vector_bits_128-cuda-opencl)
set(KINDLING_RUNTIME_TARGET_wasm32 wasm-32-wasmrt-wasm_simd128-wasm_bulk_memory)
set(KINDLING_RUNTIME_TARGET ${KINDLING_RUNTIME_TARGET_${CMAKE_SYSTEM_PROCESSOR}})
