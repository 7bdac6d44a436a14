/* What an application in C does with the kernels: numbers against plain loops, and every kind of refusal. */
#include <kindling/kernels.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int setenv(const char* name, const char* value, int overwrite); /* POSIX, hidden by strict C99 */
int unsetenv(const char* name);

static int failures = 0;

#define CHECK(condition)                                                                          \
  do {                                                                                            \
    if (!(condition)) {                                                                           \
      ++failures;                                                                                 \
      fprintf(stderr, "%s:%d: %s (%s)\n", __FILE__, __LINE__, #condition, kindling_last_error()); \
    }                                                                                             \
  } while (0)

/* The call is refused with `status` and the message names `part`. */
#define REFUSED(call, status, part)                     \
  do {                                                  \
    CHECK((call) == (status));                          \
    CHECK(strstr(kindling_last_error(), part) != NULL); \
  } while (0)

enum { N = 37, K = 29, M = 19, GAP = 3 };
static float x[N * K], w[M * K], bias[M], y[N * (M + GAP)];
static double expected[N * M];

static void fill(float* values, int size, int seed) {
  for (int i = 0; i < size; ++i) values[i] = (float)((i * 7919 + seed * 104729) % 2003) / 1001.0f - 1.0f;
}

static const kindling_const_matrix X = {x, N, K, 0}, W = {w, M, K, 0};
static const kindling_const_vector B = {bias, M};
static const kindling_activation relu = {KINDLING_RELU, 0};

static void check_forward(const kindling_context* context) {
  for (int i = 0; i < N * (M + GAP); ++i) y[i] = -77.0f;
  CHECK(kindling_dense_forward(context, X, W, B, relu, (kindling_matrix){y, N, M, M + GAP}) == KINDLING_OK);
  for (int n = 0; n < N; ++n) {
    for (int m = 0; m < M; ++m) CHECK(fabs(y[n * (M + GAP) + m] - expected[n * M + m]) < 1e-5);
    for (int g = 0; g < GAP; ++g) CHECK(y[n * (M + GAP) + M + g] == -77.0f);
  }
}

static void forward_everywhere(void) {
  fill(x, N * K, 1);
  fill(w, M * K, 2);
  fill(bias, M, 3);
  for (int n = 0; n < N; ++n) {
    for (int m = 0; m < M; ++m) {
      double z = bias[m];
      for (int k = 0; k < K; ++k) z += (double)x[n * K + k] * w[m * K + k];
      expected[n * M + m] = z > 0 ? z : 0;
    }
  }
  check_forward(NULL);
  CHECK(kindling_target_count() > 0);
  for (int i = 0; i < kindling_target_count(); ++i) {
    kindling_target target;
    CHECK(kindling_target_at(i, &target) == KINDLING_OK);
    printf("%-8s %s: %s\n", target.name, target.runs_here ? "runs" : "does not run", target.reason);
    const kindling_context context = {target.name, 2};
    if (target.runs_here) {
      check_forward(&context);
    } else {
      REFUSED(kindling_dense_forward(&context, X, W, B, relu, (kindling_matrix){y, N, M, M + GAP}), KINDLING_USAGE,
              "cannot run here");
    }
  }
}

/* A layer learns: loss, gradient and fused step through three families. */
static void train(void) {
  static float logits[N * M], gradient[N * M], loss[N], weights[M * K], biases[M];
  static int32_t labels[N], prediction[N];
  memcpy(weights, w, sizeof weights);
  for (int n = 0; n < N; ++n) labels[n] = n % M;
  double first = 0, last = 0;
  for (int step = 0; step < 30; ++step) {
    CHECK(kindling_dense_forward(NULL, X, (kindling_const_matrix){weights, M, K, 0}, (kindling_const_vector){biases, M},
                                 (kindling_activation){KINDLING_IDENTITY, 0},
                                 (kindling_matrix){logits, N, M, 0}) == KINDLING_OK);
    CHECK(kindling_softmax_cross_entropy(NULL, (kindling_const_matrix){logits, N, M, 0},
                                         (kindling_const_indices){labels, N}, 1.0f / N, (kindling_vector){loss, N},
                                         (kindling_matrix){gradient, N, M, 0},
                                         (kindling_indices){prediction, N}) == KINDLING_OK);
    CHECK(kindling_dense_weight_sgd(NULL, X, (kindling_const_matrix){gradient, N, M, 0},
                                    (kindling_dense_parameters){{weights, M, K, 0}, {biases, M}},
                                    (kindling_sgd){0.5f, 0}) == KINDLING_OK);
    last = 0;
    for (int n = 0; n < N; ++n) last += loss[n] / N;
    if (step == 0) first = last;
  }
  CHECK(last < 0.7 * first);
}

static void other_families(void) {
  /* Random123's known answer for philox4x32-10 of counter 0 and key 0. */
  uint32_t words[4];
  CHECK(kindling_philox_words(NULL, (kindling_stream){0, 0, 0, 0}, 0, (kindling_words){words, 4}) == KINDLING_OK);
  CHECK(words[0] == 0x6627e8d5u && words[1] == 0xe169c58du && words[2] == 0xbc57ac4cu && words[3] == 0x9b00dbd8u);

  float values[6] = {1, 2, 3, 4, 5, 6}, mean[2], zero[2] = {0, 0}, two[2] = {2, 2};
  CHECK(kindling_column_mean(NULL, (kindling_const_matrix){values, 3, 2, 0}, (kindling_vector){mean, 2}) ==
        KINDLING_OK);
  CHECK(mean[0] == 3 && mean[1] == 4);
  CHECK(kindling_standardize(NULL, (kindling_const_matrix){values, 3, 2, 0}, (kindling_const_vector){zero, 2},
                             (kindling_const_vector){two, 2}, (kindling_matrix){values, 3, 2, 0}) == KINDLING_OK);
  CHECK(values[5] == 12);

  /* Two classes of two samples each at 0, 2 and 10, 12: means 1 and 11. */
  double sum[2] = {2, 22}, squares[2] = {4, 244}, out[8];
  const int64_t counts[2] = {2, 2};
  const kindling_scatter result = {{out, 1},     {out + 1, 1}, {out + 2, 1}, {out + 3, 1},
                                   {out + 4, 1}, {out + 5, 1}, {out + 6, 2}};
  CHECK(kindling_scatter_criteria(NULL, (kindling_const_counts){counts, 2}, (kindling_const_doubles){sum, 2},
                                  (kindling_const_doubles){squares, 2}, (kindling_const_vector){zero, 1},
                                  result) == KINDLING_OK);
  CHECK(fabs(out[0] - 6) < 1e-12 && fabs(out[1] - 26) < 1e-12 && fabs(out[2] - 25) < 1e-12 && fabs(out[3] - 1) < 1e-12);
  CHECK(fabs(out[6] - 1) < 1e-12 && fabs(out[7] - 11) < 1e-12);

  float parameters[3] = {1, 1, 1}, g[3] = {1, 2, 3};
  CHECK(kindling_sgd_step(NULL, (kindling_const_vector){g, 3}, (kindling_sgd){0.5f, 0},
                          (kindling_vector){parameters, 3}) == KINDLING_OK);
  CHECK(parameters[0] == 0.5f && parameters[1] == 0 && parameters[2] == -0.5f);
  float norms[3];
  CHECK(kindling_campaign_norms(NULL, (kindling_const_matrix){values, 3, 2, 0}, (kindling_vector){norms, 3}) ==
        KINDLING_OK);
  CHECK(norms[0] == 4 + 16);
}

static void more_families(void) {
  const float image[9] = {1, 2, 3, 4, 9, 6, 7, 8, 5}; /* 3 x 3 pixels, one channel */
  const kindling_const_matrix one = {image, 1, 9, 0};
  float out[36], gamma_1[1] = {2}, beta_1[1] = {1}, mean[1] = {3}, variance[1] = {4};
  uint8_t index[4];
  CHECK(kindling_max_pool_forward(NULL, one, (kindling_pool_shape){3, 3, 1, 2, 2, 1, 0},
                                  (kindling_matrix){out, 1, 4, 0}, (kindling_bytes){index, 4}) == KINDLING_OK);
  CHECK(out[0] == 9 && out[3] == 9 && index[0] == 3 && index[1] == 2 && index[2] == 1 && index[3] == 0);
  CHECK(kindling_average_pool_forward(NULL, one, (kindling_pool_shape){3, 3, 1, 3, 3, 1, 0},
                                      (kindling_matrix){out, 1, 1, 0}) == KINDLING_OK);
  CHECK(fabs(out[0] - 5.0) < 1e-6);
  CHECK(kindling_patches(NULL, one, (kindling_patch_shape){3, 3, 1, 2, 2, 1, 0}, (kindling_matrix){out, 4, 4, 0}) ==
        KINDLING_OK);
  CHECK(out[0] == 1 && out[1] == 2 && out[2] == 4 && out[3] == 9 && out[15] == 5);
  /* (x - 3) / 2 * 2 + 1, then ReLU. */
  CHECK(kindling_batch_norm_inference(NULL, (kindling_const_matrix){image, 9, 1, 0},
                                      (kindling_batch_norm){{gamma_1, 1}, {beta_1, 1}, 1e-12f},
                                      (kindling_const_vector){mean, 1}, (kindling_const_vector){variance, 1}, relu,
                                      (kindling_matrix){out, 9, 1, 0}) == KINDLING_OK);
  CHECK(out[0] == 0 && fabs(out[4] - 7.0) < 1e-5);
  CHECK(kindling_row_norms(NULL, (kindling_const_matrix){image, 3, 2, 3}, (kindling_vector){out, 3}) == KINDLING_OK);
  CHECK(fabs(out[0] - sqrt(5.0)) < 1e-6 && fabs(out[2] - sqrt(113.0)) < 1e-5);
  const float jacobian[2] = {1, 1};
  CHECK(kindling_jacobian_product(NULL, (kindling_const_matrix){jacobian, 1, 2, 0},
                                  (kindling_const_matrix){image, 2, 3, 0}, NULL,
                                  (kindling_matrix){out, 1, 3, 0}) == KINDLING_OK);
  CHECK(out[0] == 5 && out[1] == 11 && out[2] == 9);
  CHECK(kindling_dropout(NULL, one, (kindling_stream){1, 300, 0, 0}, 0.5, (kindling_matrix){out, 1, 9, 0}) ==
        KINDLING_OK);
  for (int i = 0; i < 9; ++i) CHECK(out[i] == 0 || out[i] == 2 * image[i]);
  CHECK(kindling_philox_simplex(NULL, (kindling_stream){1, 300, 0, 0}, (kindling_matrix){out, 3, 10, 12}) ==
        KINDLING_OK);
  double sum = 0;
  for (int i = 0; i < 10; ++i) sum += out[12 + i];
  CHECK(fabs(sum - 1) < 1e-6);
}

static void refusals(void) {
  const kindling_matrix Y = {y, N, M, M + GAP};
  y[0] = -5.0f;
  REFUSED(kindling_dense_forward(NULL, (kindling_const_matrix){x, N, K - 1, K}, W, B, relu, Y), KINDLING_USAGE,
          "dense_forward: expected x of 37 x 29, found 37x28");
  REFUSED(kindling_dense_forward(NULL, (kindling_const_matrix){NULL, N, K, 0}, W, B, relu, Y), KINDLING_USAGE,
          "kindling_dense_forward: argument 'x' is NULL");
  REFUSED(kindling_dense_forward(NULL, (kindling_const_matrix){x, -1, K, 0}, W, B, relu, Y), KINDLING_USAGE,
          "'x' has a negative extent");
  REFUSED(kindling_dense_forward(NULL, (kindling_const_matrix){x, N, K, 5}, W, B, relu, Y), KINDLING_USAGE, "apart");
  REFUSED(kindling_dense_forward(NULL, X, W, B, relu, (kindling_matrix){x + 1, N, M, 0}), KINDLING_USAGE,
          "'y' overlaps 'x'");
  REFUSED(kindling_dense_forward(NULL, X, W, B, (kindling_activation){KINDLING_LEAKY_RELU, NAN}, Y), KINDLING_USAGE,
          "'slope': expected a finite number");
  REFUSED(kindling_dense_forward(NULL, X, W, B, (kindling_activation){(kindling_activation_kind)17, 0}, Y),
          KINDLING_USAGE, "unknown kind 17");
  REFUSED(kindling_dense_forward(&(kindling_context){"abacus", 0}, X, W, B, relu, Y), KINDLING_USAGE,
          "unknown target 'abacus'");
  REFUSED(kindling_dense_forward(&(kindling_context){NULL, -3}, X, W, B, relu, Y), KINDLING_USAGE, "threads");
  const int64_t huge = (int64_t)1 << 40;
  REFUSED(kindling_dense_forward(NULL, (kindling_const_matrix){x, huge, K, 0}, W, B, relu,
                                 (kindling_matrix){y, huge, M, 0}),
          KINDLING_USAGE, "2^31-1");
  const int32_t wrong[2] = {0, M};
  float loss[2];
  int32_t prediction[2];
  REFUSED(
      kindling_softmax_cross_entropy_loss(NULL, (kindling_const_matrix){x, 2, M, 0}, (kindling_const_indices){wrong, 2},
                                          (kindling_vector){loss, 2}, (kindling_indices){prediction, 2}),
      KINDLING_USAGE, "found 19 at sample 1");
  REFUSED(
      kindling_softmax_cross_entropy_loss(NULL, (kindling_const_matrix){x, 2, M, 0}, (kindling_const_indices){NULL, 2},
                                          (kindling_vector){loss, 2}, (kindling_indices){prediction, 2}),
      KINDLING_USAGE, "'labels' is NULL");
  REFUSED(kindling_philox_normal(NULL, (kindling_stream){0, 1, 0, 0}, 0, 0, -1, (kindling_vector){loss, 2}),
          KINDLING_USAGE, "stddev >= 0");
  REFUSED(kindling_target_at(1000, &(kindling_target){0}), KINDLING_USAGE, "found 1000");
  REFUSED(kindling_target_at(0, NULL), KINDLING_USAGE, "'target' is NULL");
  CHECK(y[0] == -5.0f);

  /* Empty batches are no work. */
  CHECK(kindling_dense_forward(NULL, (kindling_const_matrix){NULL, 0, K, 0}, W, B, relu,
                               (kindling_matrix){NULL, 0, M, 0}) == KINDLING_OK);

  int threads = 0;
  kindling_target target;
  setenv("KINDLING_THREADS", "3", 1);
  CHECK(kindling_resolve(NULL, &target, &threads) == KINDLING_OK && threads == 3);
  CHECK(kindling_resolve(&(kindling_context){NULL, 2}, NULL, &threads) == KINDLING_OK && threads == 2);
  setenv("KINDLING_THREADS", "many", 1);
  REFUSED(kindling_resolve(NULL, NULL, &threads), KINDLING_USAGE, "found 'many'");
  unsetenv("KINDLING_THREADS");
  setenv("KINDLING_TARGET", "abacus", 1);
  REFUSED(kindling_resolve(NULL, NULL, NULL), KINDLING_USAGE, "abacus");
  unsetenv("KINDLING_TARGET");
}

int main(void) {
  CHECK(strcmp(kindling_last_error(), "") == 0);
  forward_everywhere();
  train();
  other_families();
  more_families();
  refusals();
  printf("kindling kernels %s: %s\n", kindling_kernels_version(), failures == 0 ? "all as expected" : "FAILED");
  return failures == 0 ? 0 : 1;
}
