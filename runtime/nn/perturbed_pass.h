// A batch through S copies of a network whose dense and convolution parameters are each perturbed by independent
// normal draws, and the gradient of any function of their logits with respect to the unperturbed parameters.
//
// Copy s of a layer with fan-in n_in and n_out neurons has W + E_s and b + e_s, E_s ~ N(0, scale / n_in), e_s ~ N(0,
// scale / n_out) (n_in = C kh kw for a convolution). Batch-norm layers are not perturbed and normalise each copy's
// batch by its own statistics; dropout is left out.
#pragma once

#include <kindling/model.h>
#include <kindling/random.h>

#include <cstdint>
#include <vector>

#include "kernels/dispatch.h"
#include "kernels/perturbed.h"
#include "kernels/residency.h"
#include "nn/jacobian.h"

namespace kindling {

struct PerturbedPassOptions {
  std::int64_t samples = 16;  ///< S
  std::int64_t batch = 50;    ///< B
  double scale = 0.5;         ///< s^2
  /// Draw the first layer's perturbation in the span of the batch where that is smaller. X E^T depends on E only
  /// through its products with the B rows of X: with X = L Q^T, Q^T Q = 1, it is L (E Q)^T, and the M x B matrix E Q is
  /// made of independent N(0, scale / n_in) draws too. Same law, B instead of n_in draws and multiply-adds a neuron.
  bool span = true;
  /// A dense layer's perturbed weights are drawn once and kept for the backward pass if all S copies together have so
  /// few elements; otherwise, and on a device, each pass draws them while it packs them. Same draws either way.
  std::int64_t most_stored = std::int64_t{1} << 26;
};

class PerturbedPass {
 public:
  PerturbedPass(const Model& model, const PerturbedPassOptions& options);

  /// Keeps the buffers on the device; the host must fetch logits and gradients, and say when it has changed them.
  void keep_on(kernels::Residency& residency) const;

  /// Logits S x B x d of the batch x (B x inputs), perturbations from Stream{seed, perturbation, layer, step}. Keeps
  /// what backward() needs; x must live until then.
  ConstTensorView forward(const kernels::Execution& exec, const Model& model, ConstTensorView x, std::uint64_t seed,
                          std::uint32_t step);
  /// Where the caller puts the gradient with respect to the logits, S x B x d.
  TensorView logit_gradient();
  /// Gradients of all parameters, into gradients().
  void backward(const kernels::Execution& exec, const Model& model);
  /// One entry a layer of the model, empty tensors where it has no parameters.
  [[nodiscard]] std::vector<LayerGradient>& gradients() { return gradients_; }

 private:
  struct State {
    Tensor output, gradient;  // S x B x features; `output` B x features where all copies share it
    bool shared = false;      // whether the output is
    Activation carried{ActivationKind::identity};
    Tensor weights, biases;             // S perturbed copies, where they are stored
    Tensor mean, inverse_std;           // batch_norm: S x C
    Tensor weight_copies, bias_copies;  // batch_norm: gradients of each copy, S x C
    std::vector<std::uint8_t> places;   // max_pool
  };
  struct Input {
    ConstTensorView view;  // S x B x features, or B x features
    bool shared = false;
    Activation carried{ActivationKind::identity};
  };
  Input input_of(std::size_t index) const;
  TensorView all_rows(Tensor& t) const;  // S x B x features as S B rows
  kernels::Perturbation perturbation(const Layer& layer, std::size_t index) const;
  void forward_layer(const kernels::Execution& exec, const Layer& layer, std::size_t index);
  void forward_dense(const kernels::Execution& exec, const Layer& layer, std::size_t index);
  void forward_stored(const kernels::Execution& exec, const Layer& layer, std::size_t index);
  void draw_sample(const kernels::Execution& exec, const Layer& layer, std::size_t index, std::int64_t sample);
  bool stores(const kernels::Execution& exec, const Layer& layer) const;
  void parameter_gradient(const kernels::Execution& exec, const Layer& layer, std::size_t index);
  void input_gradient(const kernels::Execution& exec, const Layer& layer, std::size_t index);
  void sum_copies(const kernels::Execution& exec, ConstTensorView values, std::span<float> sum);

  static constexpr std::size_t none = ~std::size_t{0};

  PerturbedPassOptions options_;
  std::vector<std::size_t> before_;  // of each layer: the layer it takes its input from, none for the batch
  std::size_t last_ = 0, first_trained_ = 0;
  bool reorder_ = false;
  ConstTensorView x_;
  Tensor reordered_;  // channels last
  std::uint64_t seed_ = 0;
  std::uint32_t step_ = 0;
  std::vector<State> state_;
  std::vector<LayerGradient> gradients_;
  Tensor ones_, summed_, discarded_, span_input_, span_weight_, basis_, running_;
};

}  // namespace kindling
