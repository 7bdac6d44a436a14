#include "kernels/random.h"

#include <kindling/kernels/random.h>

#include "kernels/c_api/convert.h"

using namespace kindling::kernels;
using c_api::Arguments;

namespace {

kindling::Stream stream_of(const kindling_stream& s) {
  return {.seed = s.seed, .purpose = kindling::Purpose{s.purpose}, .unit = s.unit, .step = s.step};
}

}  // namespace

kindling_status kindling_philox_words(const kindling_context* context, kindling_stream stream, uint32_t first_block,
                                      kindling_words out) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    philox_words(e, stream_of(stream), a.vector("out", out), first_block);
  });
}

kindling_status kindling_philox_uniform(const kindling_context* context, kindling_stream stream, uint32_t first_block,
                                        float low, float high, kindling_vector out) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    philox_uniform(e, stream_of(stream), low, high, a.vector("out", out), first_block);
  });
}

kindling_status kindling_philox_normal(const kindling_context* context, kindling_stream stream, uint32_t first_block,
                                       float mean, float stddev, kindling_vector out) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    philox_normal(e, stream_of(stream), mean, stddev, a.vector("out", out), first_block);
  });
}
