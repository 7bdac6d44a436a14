/* What every kernel function shares: status and message, where it runs, arrays, targets.
 *
 * Every function returns a status, throws nothing and prints nothing. Arguments are checked before anything is
 * computed: shapes that do not fit, arrays without memory, numbers that are not finite, extents beyond 2^31-1, arrays
 * of 2^31 bytes or more and outputs that overlap another argument give KINDLING_USAGE, and no output has changed. After
 * KINDLING_KERNEL, KINDLING_OUT_OF_MEMORY and KINDLING_INTERNAL the outputs are undefined. Empty batches are allowed
 * unless a function says otherwise.
 *
 * Matrices are row-major float32, one sample a row; strides are counted in elements. Results are bitwise the same for
 * any number of threads. NaN and infinity in arrays pass through as IEEE arithmetic has them. Functions may be called
 * from several threads at once. */
#ifndef KINDLING_KERNELS_BASE_H
#define KINDLING_KERNELS_BASE_H

#include <stdint.h>

#ifdef __GNUC__
#define KINDLING_CHECKED __attribute__((warn_unused_result))
#else
#define KINDLING_CHECKED
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum kindling_status {
  KINDLING_OK = 0,
  KINDLING_USAGE = 2,         /* an argument that does not fit; the message names it */
  KINDLING_KERNEL = 6,        /* a device or a compiled kernel reported a failure */
  KINDLING_OUT_OF_MEMORY = 7, /* no memory for a kernel's working storage */
  KINDLING_INTERNAL = 8       /* anything else: a defect of the library */
} kindling_status;

/* What the last call of this thread that failed had to say: expected, found, where. Never NULL; "" when none has
 * failed. Valid until this thread's next failing call. Longer messages are cut at 1023 bytes. */
const char* kindling_last_error(void);

/* "0.1.0" */
const char* kindling_kernels_version(void);

/* Where and with how many threads a call runs. A NULL context stands for {NULL, 0}. */
typedef struct kindling_context {
  const char* target; /* a name of kindling_target_at(); NULL or "": KINDLING_TARGET of the environment, else the best
                         CPU target that runs here */
  int threads;        /* 0: KINDLING_THREADS of the environment, else one per available core */
} kindling_context;

/* A hardware target that the kernels were compiled for. The strings live as long as the process. */
typedef struct kindling_target {
  const char* name;          /* "avx2" */
  const char* halide_target; /* what the compiler was asked for */
  int gpu;                   /* 1: a device, used only when asked for by name */
  int runs_here;             /* 1: can run on this machine, now */
  const char* reason;        /* why it can or cannot */
} kindling_target;

/* Compiled targets, in order of preference, the best CPU target last among the CPU targets. */
int kindling_target_count(void);
/* KINDLING_USAGE when there is no such index or `target` is NULL. */
KINDLING_CHECKED kindling_status kindling_target_at(int index, kindling_target* target);
/* What a call under `context` runs on, and with how many threads; KINDLING_USAGE when the context or the environment
 * name a target that is unknown or cannot run here, or a number of threads that is none. Either pointer may be NULL. */
KINDLING_CHECKED kindling_status kindling_resolve(const kindling_context* context, kindling_target* target,
                                                  int* threads);

/* Rows that lie row_stride elements apart; a row_stride of 0 stands for cols, rows without gaps. */
typedef struct kindling_matrix {
  float* data;
  int64_t rows, cols, row_stride;
} kindling_matrix;
typedef struct kindling_const_matrix {
  const float* data;
  int64_t rows, cols, row_stride;
} kindling_const_matrix;
typedef struct kindling_const_byte_matrix {
  const uint8_t* data;
  int64_t rows, cols, row_stride;
} kindling_const_byte_matrix;

/* Contiguous elements. */
typedef struct kindling_vector {
  float* data;
  int64_t size;
} kindling_vector;
typedef struct kindling_const_vector {
  const float* data;
  int64_t size;
} kindling_const_vector;
typedef struct kindling_doubles {
  double* data;
  int64_t size;
} kindling_doubles;
typedef struct kindling_const_doubles {
  const double* data;
  int64_t size;
} kindling_const_doubles;
typedef struct kindling_indices {
  int32_t* data;
  int64_t size;
} kindling_indices;
typedef struct kindling_const_indices {
  const int32_t* data;
  int64_t size;
} kindling_const_indices;
typedef struct kindling_counts {
  int64_t* data;
  int64_t size;
} kindling_counts;
typedef struct kindling_const_counts {
  const int64_t* data;
  int64_t size;
} kindling_const_counts;
typedef struct kindling_bytes {
  uint8_t* data;
  int64_t size;
} kindling_bytes;
typedef struct kindling_const_bytes {
  const uint8_t* data;
  int64_t size;
} kindling_const_bytes;
typedef struct kindling_words {
  uint32_t* data;
  int64_t size;
} kindling_words;

typedef enum kindling_activation_kind {
  KINDLING_IDENTITY = 0,
  KINDLING_RELU = 1,
  KINDLING_LEAKY_RELU = 2,
  KINDLING_TANH = 3,
  KINDLING_SIGMOID = 4
} kindling_activation_kind;

/* An elementwise non-linearity; negative_slope is used by KINDLING_LEAKY_RELU only. */
typedef struct kindling_activation {
  kindling_activation_kind kind;
  float negative_slope;
} kindling_activation;

#ifdef __cplusplus
}
#endif

#endif
