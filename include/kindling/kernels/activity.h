/* How often units are active. */
#ifndef KINDLING_KERNELS_ACTIVITY_H
#define KINDLING_KERNELS_ACTIVITY_H

#include <kindling/kernels/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* counts(m) = number of samples n with y(n, m) > 0: y (N x M), counts (M). A NaN is not active. */
KINDLING_CHECKED kindling_status kindling_active_counts(const kindling_context* context, kindling_const_matrix y,
                                                        kindling_indices counts);

#ifdef __cplusplus
}
#endif

#endif
