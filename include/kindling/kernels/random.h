/* Philox 4x32-10 (Salmon et al., SC 2011): element i of an output is element 4 first_block + i of the stream, a pure
 * function of the stream and its index. Words are the same on every target; uniforms and normals are the same bits on
 * every CPU target and agree on devices to a few units in the last place. KINDLING_USAGE when the blocks asked for run
 * past 2^32. */
#ifndef KINDLING_KERNELS_RANDOM_H
#define KINDLING_KERNELS_RANDOM_H

#include <kindling/kernels/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Key: seed. Counter of block j: (j, step, unit, purpose). Kindling's own methods use the purposes 1 to 255. */
typedef struct kindling_stream {
  uint64_t seed;
  uint32_t purpose, unit, step;
} kindling_stream;

/* Raw 32-bit words. */
KINDLING_CHECKED kindling_status kindling_philox_words(const kindling_context* context, kindling_stream stream,
                                                       uint32_t first_block, kindling_words out);

/* low + (high - low) u with u = (word / 256 + 1/2) / 2^24; strictly between low and high, which are finite with a float
 * between them. */
KINDLING_CHECKED kindling_status kindling_philox_uniform(const kindling_context* context, kindling_stream stream,
                                                         uint32_t first_block, float low, float high,
                                                         kindling_vector out);

/* mean + stddev * normal (Box and Muller); both finite, stddev >= 0. */
KINDLING_CHECKED kindling_status kindling_philox_normal(const kindling_context* context, kindling_stream stream,
                                                        uint32_t first_block, float mean, float stddev,
                                                        kindling_vector out);

/* -mean ln u: exponential draws; mean finite and positive. */
KINDLING_CHECKED kindling_status kindling_philox_exponential(const kindling_context* context, kindling_stream stream,
                                                             uint32_t first_block, float mean, kindling_vector out);

/* sqrt(u): draws of Beta(2, 1), the law of the larger of two uniforms. */
KINDLING_CHECKED kindling_status kindling_philox_beta21(const kindling_context* context, kindling_stream stream,
                                                        uint32_t first_block, kindling_vector out);

/* Draws of Beta(alpha, beta), both from 0.001 to 10000; element i is made of the eight blocks from first_block + 8 i on
 * (Marsaglia and Tsang, ACM TOMS 2000). */
KINDLING_CHECKED kindling_status kindling_philox_beta(const kindling_context* context, kindling_stream stream,
                                                      uint32_t first_block, float alpha, float beta,
                                                      kindling_vector out);

/* Rows of out (R x d) uniform on the simplex. Entry j of row r comes from word j % 4 of block r ceil(d / 4) + j / 4. */
KINDLING_CHECKED kindling_status kindling_philox_simplex(const kindling_context* context, kindling_stream stream,
                                                         kindling_matrix out);

/* Rows w = scale (z - shrink mean(z)) of out (R x N), z independent standard normals from blocks r (ceil(N / 4) + 1)
 * on. With beta_entry other than 0, one entry of each row is a Beta(2, 1) draw instead. scale and shrink are finite. */
typedef struct kindling_correlated_rows {
  float scale, shrink;
  int beta_entry;
} kindling_correlated_rows;
KINDLING_CHECKED kindling_status kindling_philox_correlated_rows(const kindling_context* context,
                                                                 kindling_stream stream, kindling_correlated_rows law,
                                                                 kindling_matrix out);

#ifdef __cplusplus
}
#endif

#endif
