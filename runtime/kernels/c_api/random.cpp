#include "kernels/random.h"

#include <kindling/kernels/random.h>

#include "kernels/c_api/convert.h"

using namespace kindling::kernels;
using c_api::Arguments;

kindling_status kindling_philox_words(const kindling_context* context, kindling_stream stream, uint32_t first_block,
                                      kindling_words out) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    philox_words(e, c_api::stream_of(stream), a.vector("out", out), first_block);
  });
}

kindling_status kindling_philox_uniform(const kindling_context* context, kindling_stream stream, uint32_t first_block,
                                        float low, float high, kindling_vector out) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    philox_uniform(e, c_api::stream_of(stream), low, high, a.vector("out", out), first_block);
  });
}

kindling_status kindling_philox_normal(const kindling_context* context, kindling_stream stream, uint32_t first_block,
                                       float mean, float stddev, kindling_vector out) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    philox_normal(e, c_api::stream_of(stream), mean, stddev, a.vector("out", out), first_block);
  });
}

kindling_status kindling_philox_exponential(const kindling_context* context, kindling_stream stream,
                                            uint32_t first_block, float mean, kindling_vector out) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    philox_exponential(e, c_api::stream_of(stream), mean, a.vector("out", out), first_block);
  });
}

kindling_status kindling_philox_beta21(const kindling_context* context, kindling_stream stream, uint32_t first_block,
                                       kindling_vector out) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    philox_beta21(e, c_api::stream_of(stream), a.vector("out", out), first_block);
  });
}

kindling_status kindling_philox_beta(const kindling_context* context, kindling_stream stream, uint32_t first_block,
                                     float alpha, float beta, kindling_vector out) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    philox_beta(e, c_api::stream_of(stream), alpha, beta, a.vector("out", out), first_block);
  });
}

kindling_status kindling_philox_simplex(const kindling_context* context, kindling_stream stream, kindling_matrix out) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    philox_simplex(e, c_api::stream_of(stream), a.matrix("out", out));
  });
}

kindling_status kindling_philox_correlated_rows(const kindling_context* context, kindling_stream stream,
                                                kindling_correlated_rows law, kindling_matrix out) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    philox_correlated_rows(e, c_api::stream_of(stream),
                           {.scale = law.scale, .shrink = law.shrink, .beta_entry = law.beta_entry != 0},
                           a.matrix("out", out));
  });
}
