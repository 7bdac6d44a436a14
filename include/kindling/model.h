#pragma once

#include <kindling/activation.h>
#include <kindling/context.h>
#include <kindling/tensor.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace kindling {

/// What a layer computes. Convolutional layers will join here; methods ask for the kind and name what they skip.
enum class LayerKind { dense };

/// One layer with its parameters: Z = f(X W^T + b).
struct Layer {
  LayerKind kind = LayerKind::dense;
  std::string name;       ///< prefix of the state-dict names: "layers.0" gives "layers.0.weight"
  Activation activation;  ///< applied to the pre-activations
  Tensor weight;          ///< fan_out x fan_in, one row a neuron
  Tensor bias;            ///< fan_out

  [[nodiscard]] std::int64_t fan_in() const { return weight.shape()[1]; }
  [[nodiscard]] std::int64_t fan_out() const { return weight.shape()[0]; }
};

/// A feed-forward network: a chain of layers, each consuming the previous one's outputs.
class Model {
 public:
  Model() = default;
  /// A multi-layer perceptron; widths = {inputs, hidden ..., outputs}, at least two, all positive. All parameters are
  /// zero. Throws Error{usage}.
  static Model mlp(const std::vector<std::int64_t>& widths, Activation hidden = {ActivationKind::relu},
                   Activation output = {ActivationKind::identity});
  /// "784-256-100-10", optionally followed by ":<hidden activation>" as in "784-256-10:tanh". Throws Error{usage}.
  static Model parse(std::string_view text);

  [[nodiscard]] std::vector<Layer>& layers() { return layers_; }
  [[nodiscard]] const std::vector<Layer>& layers() const { return layers_; }
  [[nodiscard]] std::int64_t inputs() const;
  [[nodiscard]] std::int64_t outputs() const;
  [[nodiscard]] std::int64_t parameters() const;
  /// The text that parse() accepts for this model.
  [[nodiscard]] std::string description() const;
  [[nodiscard]] Model clone() const;

 private:
  std::vector<Layer> layers_;
};

/// Throws Error{bad_input} that names both numbers unless the model's input width is `features` and it has at least
/// `classes` outputs (0: not checked).
void check_fits(const Model& model, std::int64_t features, int classes);

/// Throws Error{numerical} naming the first parameter that is NaN or infinite.
void check_finite(const Model& model);

/// Outputs of the whole chain, rows x outputs(), for inputs rows x inputs(). Throws Error{usage} on a shape mismatch.
Tensor forward(const Model& model, ConstTensorView inputs, const Context& context);

/// Writes the parameters with PyTorch state-dict names, by the path's extension: ".safetensors" or ".npz" (Error{usage}
/// for any other). The model's description is stored as metadata "model". The file is replaced atomically.
void save_weights(const Model& model, const std::string& path);
/// Reads parameters by name into the model; every one must be there with the right shape. Throws Error{bad_input}.
void load_weights(Model& model, const std::string& path);

}  // namespace kindling
