/* The kernels for applications that want nothing else of Kindling: a C interface (C99, usable from C++) over plain
 * memory. CMake: find_package(kindling COMPONENTS kernels), target kindling::kernels.
 *
 *   float y[64 * 10];
 *   kindling_status status = kindling_dense_forward(
 *       NULL, (kindling_const_matrix){x, 64, 784}, (kindling_const_matrix){w, 10, 784},
 *       (kindling_const_vector){bias, 10}, (kindling_activation){KINDLING_RELU}, (kindling_matrix){y, 64, 10});
 *   if (status != KINDLING_OK) fprintf(stderr, "%s\n", kindling_last_error());
 *
 * One header per kernel family. What holds for all of them stands in kernels/base.h. */
#ifndef KINDLING_KERNELS_H
#define KINDLING_KERNELS_H

#include <kindling/kernels/activity.h>
#include <kindling/kernels/base.h>
#include <kindling/kernels/batch_norm.h>
#include <kindling/kernels/campaign.h>
#include <kindling/kernels/conv.h>
#include <kindling/kernels/dense.h>
#include <kindling/kernels/dropout.h>
#include <kindling/kernels/gram.h>
#include <kindling/kernels/information.h>
#include <kindling/kernels/jacobian.h>
#include <kindling/kernels/layout.h>
#include <kindling/kernels/loss.h>
#include <kindling/kernels/optimizer.h>
#include <kindling/kernels/perturbed.h>
#include <kindling/kernels/pool.h>
#include <kindling/kernels/random.h>
#include <kindling/kernels/scatter.h>

#endif
