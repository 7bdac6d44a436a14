// Covariance of the columns of a stored matrix: the contraction over samples, centred as the operands are packed, so
// that a centred copy never exists and a large mean costs no digits.
#include "common/contraction.h"

namespace kindling {
namespace {

using namespace Halide;

class Covariance : public Generator<Covariance> {
 public:
  Input<Buffer<float, 2>> x{"x"};        // (features, batch)
  Input<Buffer<float, 1>> mean{"mean"};  // (features)
  Output<Func> covariance{"covariance", Float(32), 2};

  void generate() {
    const Var col("col"), row("row");
    const Expr batch = x.dim(1).extent(), features = x.dim(0).extent();
    const auto centred = [&](const Expr& n, const Expr& k) { return x(k, n) - mean(k); };
    product_ =
        Contraction("covariance", hardware_facts(get_target()), get_target().has_gpu_feature(),
                    {batch, features, features, centred, centred, Layout::column_contiguous}, {.over_samples = true});
    result_(col, row) = undef<float>();
    product_.store(result_, [&](const Expr& sum, const Expr&, const Expr&) { return Tuple(sum / cast<float>(batch)); });
    covariance = result_;
  }

  void schedule() {
    const Expr features = x.dim(0).extent();
    x.dim(0).set_min(0);
    x.dim(1).set_min(0);
    mean.dim(0).set_bounds(0, features);
    result_.output_buffers()[0].dim(0).set_bounds(0, features).dim(1).set_bounds(0, features);
    get_target().has_gpu_feature() ? schedule_gpu() : schedule_cpu();
  }

 private:
  // Measured against OpenBLAS ssyrk on a centred copy, which computes one half of the elements and not both, and this
  // core's multiply-add peak.
  void schedule_cpu() { product_.schedule_cpu(); }

  // Measured by registers and spills under ptxas; executed on PoCL.
  void schedule_gpu() { product_.schedule_gpu(); }

  Contraction product_;
  Func result_{"result"};
};

}  // namespace
}  // namespace kindling

HALIDE_REGISTER_GENERATOR(kindling::Covariance, covariance)
