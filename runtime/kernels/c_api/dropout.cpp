#include "kernels/dropout.h"

#include <kindling/kernels/dropout.h>

#include "kernels/c_api/convert.h"

using namespace kindling::kernels;
using c_api::Arguments;

kindling_status kindling_dropout(const kindling_context* context, kindling_const_matrix x, kindling_stream stream,
                                 double rate, kindling_matrix y) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    dropout(e, a.matrix("x", x), c_api::stream_of(stream), rate, a.matrix("y", y));
  });
}
