# One row per hardware target: name, kind, Halide target, and what the processor must have to run it (names as in
# runtime/kernels/cpu_features.cpp). CPU rows stand in order of preference, the best last; GPU rows are used only when
# asked for by name. A new row is compiled for every kernel and tested like the others.
#
#                   name    kind  Halide target                                        requires
kindling_add_target(sse41   cpu   x86-64-linux-sse41                                   sse4.1)
kindling_add_target(avx2    cpu   x86-64-linux-sse41-avx-f16c-fma-avx2                 avx2 fma f16c)
kindling_add_target(avx512  cpu   x86-64-linux-sse41-avx-f16c-fma-avx2-avx512-avx512_skylake  avx2 fma f16c avx512f avx512vl avx512bw avx512dq avx512cd)
kindling_add_target(opencl  gpu   x86-64-linux-sse41-opencl                            opencl)
kindling_add_target(cuda    gpu   x86-64-linux-sse41-cuda-cuda_capability_80           cuda)

# The one Halide runtime that all rows share: every device interface that a row uses.
set(KINDLING_RUNTIME_TARGET x86-64-linux-cuda-opencl)
