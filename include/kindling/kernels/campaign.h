/* Blocked, weighted, pivoted Gram-Schmidt over rows, as the neuron campaign uses it. */
#ifndef KINDLING_KERNELS_CAMPAIGN_H
#define KINDLING_KERNELS_CAMPAIGN_H

#include <kindling/kernels/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Rows of a matrix, picked and scaled: row i stands for scale[index[i]] * rows[index[i]]. rows (P x K), K >= 1, index
 * (A) in 0..P-1, scale (P). */
typedef struct kindling_picked_rows {
  kindling_const_matrix rows;
  kindling_const_indices index;
  kindling_const_vector scale;
} kindling_picked_rows;

/* Sum of squares of every row: rows (P x K), K >= 1, sum_squares (P). */
KINDLING_CHECKED kindling_status kindling_campaign_norms(const kindling_context* context, kindling_const_matrix rows,
                                                         kindling_vector sum_squares);

/* c(i, j) = row_i . directions_j: directions (B x K), c (A x B). */
KINDLING_CHECKED kindling_status kindling_campaign_project(const kindling_context* context, kindling_picked_rows picked,
                                                           kindling_const_matrix directions, kindling_matrix c);

/* squared[i] = before[i] - sum over j >= first[i] of (row_i . directions_j)^2: directions (B x K); first, before,
 * squared (A). */
KINDLING_CHECKED kindling_status kindling_campaign_update(const kindling_context* context, kindling_picked_rows picked,
                                                          kindling_const_matrix directions,
                                                          kindling_const_indices first, kindling_const_vector before,
                                                          kindling_vector squared);

/* residual_i = row_i - sum_j c(j, i) directions_j and its squared norm: c (B x A), directions (B x K), residual (A x
 * K), squared (A). */
KINDLING_CHECKED kindling_status kindling_campaign_residual(const kindling_context* context,
                                                            kindling_picked_rows picked, kindling_const_matrix c,
                                                            kindling_const_matrix directions, kindling_matrix residual,
                                                            kindling_vector squared);

/* The state of an active set of A candidates inside a block of pivoted Cholesky steps. */
typedef struct kindling_campaign_state {
  kindling_const_matrix gram;      /* (A x S) inner products of every candidate with the residuals of S of them */
  int64_t column;                  /* the pivot's column of gram */
  int64_t pivot;                   /* the pivot's position among the candidates */
  kindling_const_matrix factor;    /* (steps so far x A) coefficients along the block's earlier directions */
  kindling_const_vector weight;    /* (A) score of each candidate, negative for one that is out */
  kindling_const_vector reference; /* (A) squared norm at its last exact computation */
  float spoilt,
      slack; /* a squared norm below spoilt * reference has lost its accuracy, counts as slack * reference more */
} kindling_campaign_state;

/* One step: coefficients of all candidates along the pivot's direction, the squared norms left, the products weight *
 * sqrt(squared), and the largest of them with its position, the lower one among equals; -1 and -1 when all are out.
 * before, coefficients, squared, products (A); best_product and best_position are not NULL. */
KINDLING_CHECKED kindling_status kindling_campaign_step(const kindling_context* context, kindling_campaign_state state,
                                                        kindling_const_vector before, kindling_vector coefficients,
                                                        kindling_vector squared, kindling_vector products,
                                                        float* best_product, int64_t* best_position);

#ifdef __cplusplus
}
#endif

#endif
