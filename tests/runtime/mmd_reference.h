// The losses of initialization learned by MMD in float64, written as the formulas stand: one perturbed network after
// the other, one sample after the other, Jacobians row by row.
#pragma once

#include <kindling/mmd.h>
#include <kindling/random.h>

#include <Eigen/Dense>
#include <functional>
#include <vector>

namespace kindling::test {

class MmdReference {
 public:
  MmdReference(const Model& model, ConstTensorView x, const MmdOptions& options, std::uint64_t seed,
               std::uint32_t step);

  [[nodiscard]] MmdTerms terms() const;
  [[nodiscard]] double total() const { return terms().total; }
  /// layer, whether a bias, index, the parameter.
  void for_each_parameter(const std::function<void(std::size_t, bool, std::size_t, double&)>& visit);

 private:
  using Matrix = Eigen::MatrixXd;
  struct Parameters {
    std::vector<double> weight, bias;
  };
  [[nodiscard]] Matrix run(const Matrix& x, std::int64_t sample) const;
  // The parameters of a layer, with the noise of a sample; sample -1: theta0.
  [[nodiscard]] Parameters perturbed(std::size_t index, std::int64_t sample) const;
  [[nodiscard]] Matrix affine(const Matrix& x, std::size_t index, std::int64_t sample) const;
  [[nodiscard]] Matrix matrix_of(const Matrix& z, std::size_t index) const;
  [[nodiscard]] double detachment() const;

  const Model& model_;
  MmdOptions options_;
  Matrix x_;                                        // B x inputs, channels last
  std::vector<Parameters> parameters_;              // theta0
  std::vector<std::vector<Parameters>> noise_;      // layer, sample
  std::size_t span_layer_ = ~std::size_t{0};        // the layer whose draws are the following instead of its weights'
  std::vector<Matrix> span_noise_;                  // sample: B x M, what they add to its pre-activations
  std::vector<Eigen::RowVectorXd> mean_, inverse_;  // of batch-norm layers at theta0, frozen
  std::vector<Matrix> uniform_;                     // of each x: S x d
  std::vector<double> bandwidth_;                   // of each x, frozen
};

}  // namespace kindling::test
