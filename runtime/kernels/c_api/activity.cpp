#include "kernels/activity.h"

#include <kindling/kernels/activity.h>

#include "kernels/c_api/convert.h"

using namespace kindling::kernels;
using c_api::Arguments;

kindling_status kindling_active_counts(const kindling_context* context, kindling_const_matrix y,
                                       kindling_indices counts) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    active_counts(e, a.matrix("y", y), a.vector("counts", counts));
  });
}
