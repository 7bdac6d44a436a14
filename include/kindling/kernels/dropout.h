/* Dropout (Srivastava et al., JMLR 2014) without a stored mask: it is a function of a random stream. */
#ifndef KINDLING_KERNELS_DROPOUT_H
#define KINDLING_KERNELS_DROPOUT_H

#include <kindling/kernels/random.h>

#ifdef __cplusplus
extern "C" {
#endif

/* y = x * m, m = 0 with probability `rate` and 1 / (1 - rate) otherwise: element (n, k) of N x K is dropped where word
 * k % 4 of block n * ceil(K / 4) + k / 4 of the stream is below rate * 2^32. The backward pass is the same call on the
 * gradient. y may be x; NaN stays NaN. rate in [0, 1); at most 2^32 blocks. */
KINDLING_CHECKED kindling_status kindling_dropout(const kindling_context* context, kindling_const_matrix x,
                                                  kindling_stream stream, double rate, kindling_matrix y);

#ifdef __cplusplus
}
#endif

#endif
