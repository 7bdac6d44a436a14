#include "kernels/campaign.h"

#include <kindling/kernels/campaign.h>

#include "kernels/c_api/convert.h"

using namespace kindling::kernels;
using c_api::Arguments;

namespace {

PickedRows picked_of(const Arguments& a, const kindling_picked_rows& p) {
  return {a.matrix("picked.rows", p.rows), a.vector("picked.index", p.index), a.vector("picked.scale", p.scale)};
}

}  // namespace

kindling_status kindling_campaign_norms(const kindling_context* context, kindling_const_matrix rows,
                                        kindling_vector sum_squares) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    campaign_norms(e, a.matrix("rows", rows), a.vector("sum_squares", sum_squares));
  });
}

kindling_status kindling_campaign_project(const kindling_context* context, kindling_picked_rows picked,
                                          kindling_const_matrix directions, kindling_matrix c) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    campaign_project(e, picked_of(a, picked), a.matrix("directions", directions), a.matrix("c", c));
  });
}

kindling_status kindling_campaign_update(const kindling_context* context, kindling_picked_rows picked,
                                         kindling_const_matrix directions, kindling_const_indices first,
                                         kindling_const_vector before, kindling_vector squared) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    campaign_update(e, picked_of(a, picked), a.matrix("directions", directions), a.vector("first", first),
                    a.vector("before", before), a.vector("squared", squared));
  });
}

kindling_status kindling_campaign_residual(const kindling_context* context, kindling_picked_rows picked,
                                           kindling_const_matrix c, kindling_const_matrix directions,
                                           kindling_matrix residual, kindling_vector squared) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    campaign_residual(e, picked_of(a, picked), a.matrix("c", c), a.matrix("directions", directions),
                      a.matrix("residual", residual), a.vector("squared", squared));
  });
}

kindling_status kindling_campaign_step(const kindling_context* context, kindling_campaign_state state,
                                       kindling_const_vector before, kindling_vector coefficients,
                                       kindling_vector squared, kindling_vector products, float* best_product,
                                       int64_t* best_position) {
  return c_api::run(__func__, context, [&](const Execution& e, const Arguments& a) {
    float& product = a.result("best_product", best_product);
    std::int64_t& position = a.result("best_position", best_position);
    const CampaignStep step{.gram = a.matrix("gram", state.gram),
                            .column = state.column,
                            .pivot = state.pivot,
                            .factor = a.matrix("factor", state.factor),
                            .weight = a.vector("weight", state.weight),
                            .reference = a.vector("reference", state.reference),
                            .spoilt = state.spoilt,
                            .slack = state.slack};
    const CampaignBest best = campaign_step(e, step, a.vector("before", before), a.vector("coefficients", coefficients),
                                            a.vector("squared", squared), a.vector("products", products));
    product = best.product;
    position = best.position;
  });
}
