#pragma once

#include <kindling/activation.h>
#include <kindling/context.h>
#include <kindling/tensor.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace kindling {

/// What a layer computes. Methods ask for the kind and name what they skip.
enum class LayerKind { dense, conv2d, max_pool, average_pool, flatten, batch_norm, dropout };

/// "conv2d", "max-pool" ...
std::string to_string(LayerKind kind);

/// What flows between layers: an image, or `channels` plain features (height and width 1).
struct ImageShape {
  std::int64_t channels = 1, height = 1, width = 1;

  [[nodiscard]] std::int64_t features() const { return channels * height * width; }
  bool operator==(const ImageShape&) const = default;
};

/// The window of a convolution or of pooling.
struct Window {
  std::int64_t height = 1, width = 1, stride = 1, padding = 0;
};

/// One layer with its parameters. The activation f belongs to the layer before it:
/// - dense: Z = f(X W^T + b), one row of W a neuron;
/// - conv2d: the same for the receptive field of every output pixel, one row of W an output channel;
/// - batch_norm: Z = f((X - mean) / sqrt(variance + epsilon) * weight + bias) per feature or per channel, the batch's
///   statistics in training and the running ones in inference;
/// - max_pool, average_pool (padding counts as zeros), flatten (to PyTorch's order C, H, W) and dropout (in training,
///   what is kept is scaled by 1 / (1 - rate)) have neither parameters nor activation.
struct Layer {
  LayerKind kind = LayerKind::dense;
  std::string name;       ///< prefix of the state-dict names: "layers.0" gives "layers.0.weight"
  Activation activation;  ///< applied to the pre-activations
  Tensor weight;          ///< dense: fan_out x fan_in; conv2d: O x I x kh x kw; batch_norm: channels
  Tensor bias;            ///< one number a row of `weight`
  ImageShape input;       ///< of one sample, inside the network channels last
  ImageShape output;
  Window window;        ///< conv2d and pooling
  double rate = 0;      ///< dropout: share that is dropped
  Tensor running_mean;  ///< batch_norm: channels, PyTorch's moving average with momentum 0.1
  Tensor running_var;
  std::int64_t batches_tracked = 0;  ///< batch_norm: training steps so far

  static constexpr float batch_norm_epsilon = 1e-5F;  ///< PyTorch's default
  static constexpr float batch_norm_momentum = 0.1F;

  /// Whether it has neurons that an initialization method sets: dense and conv2d.
  [[nodiscard]] bool has_neurons() const { return kind == LayerKind::dense || kind == LayerKind::conv2d; }
  /// Neurons: rows of W.
  [[nodiscard]] std::int64_t units() const { return has_neurons() ? weight.shape()[0] : 0; }
  /// Weights of one neuron; I * kh * kw for conv2d. 0 where there are none.
  [[nodiscard]] std::int64_t fan_in() const { return has_neurons() ? weight.view().cols() : 0; }
  /// Outputs that one input feeds: neurons, times kh * kw for conv2d, as PyTorch counts. 0 where there are none.
  [[nodiscard]] std::int64_t fan_out() const { return units() * window.height * window.width; }
};

/// A feed-forward network: a chain of layers, each consuming the previous one's outputs.
class Model {
 public:
  Model() = default;
  /// A multi-layer perceptron; widths = {inputs, hidden ..., outputs}, at least two, all positive. All parameters are
  /// zero. Throws Error{usage}.
  static Model mlp(const std::vector<std::int64_t>& widths, Activation hidden = {ActivationKind::relu},
                   Activation output = {ActivationKind::identity});

  /// Either "784-256-100-10", optionally followed by ":<hidden activation>" as in "784-256-10:tanh", or
  /// "<input>:<module>,<module>,...", which lists the modules of an nn.Sequential:
  ///
  ///   3x32x32:conv16,bn,relu,pool2,conv32k5s2,relu,flatten,512,relu,dropout0.5,10
  ///
  /// - input: channels x height x width, or a number of features;
  /// - conv<channels>[k<size>][s<stride>][p<padding>]: square kernel 3, stride 1, padding (size - 1) / 2 by default;
  /// - pool<size>[s<stride>][p<padding>], avgpool<size>...: stride = size, padding 0 by default; avgpool without a size
  ///   takes the whole image;
  /// - <width>: dense; bn: batch-norm, per feature after a dense layer and per channel after a convolution;
  /// - dropout<rate>; flatten; relu, tanh, sigmoid, identity, leaky_relu[:<slope>].
  ///
  /// What is left out is filled in: flatten before the first dense layer and at the end, and relu after every hidden
  /// dense layer and convolution (after the bn that follows it) that names no activation. An activation stands right
  /// after dense, conv or bn. Module i of the completed list, which description() prints, has the state-dict prefix
  /// "layers.i", so that a weights file fits `net.layers = nn.Sequential(...)` of the same modules.
  ///
  /// Weights and biases are zero, batch-norm's weights and variances one. Throws Error{usage} that names the module.
  static Model parse(std::string_view text);

  [[nodiscard]] std::vector<Layer>& layers() { return layers_; }
  [[nodiscard]] const std::vector<Layer>& layers() const { return layers_; }
  /// Numbers of one sample, which come in the order C, H, W where it is an image.
  [[nodiscard]] std::int64_t inputs() const;
  [[nodiscard]] std::int64_t outputs() const;
  /// Numbers that training changes: weights and biases, not running statistics.
  [[nodiscard]] std::int64_t parameters() const;
  /// Layers with neurons.
  [[nodiscard]] std::size_t neuron_layers() const;
  /// Index of the last of them, which makes the outputs; 0 if there is none.
  [[nodiscard]] std::size_t last_neuron_layer() const;
  /// The activation of the neurons of layer `index`: its own, or that of the batch-norm layer right after it.
  [[nodiscard]] const Activation& neuron_activation(std::size_t index) const;
  /// The text that parse() accepts for this model.
  [[nodiscard]] std::string description() const;
  [[nodiscard]] Model clone() const;

 private:
  static Model parse_sequential(std::string_view text, std::size_t colon);

  std::vector<Layer> layers_;
  std::string modules_;  // description() of a model given as a list of modules
};

/// Throws Error{bad_input} that names both numbers unless the model's input width is `features` and it has at least
/// `classes` outputs (0: not checked).
void check_fits(const Model& model, std::int64_t features, int classes);

/// Throws Error{numerical} naming the first parameter or running statistic that is NaN or infinite.
void check_finite(const Model& model);

/// Outputs of the whole chain in inference mode, rows x outputs(), for inputs rows x inputs(). Throws Error{usage} on a
/// shape mismatch.
Tensor forward(const Model& model, ConstTensorView inputs, const Context& context);

/// Writes the parameters with PyTorch state-dict names, by the path's extension: ".safetensors" or ".npz" (Error{usage}
/// for any other); for batch-norm also running_mean, running_var and num_batches_tracked. The model's description is
/// stored as metadata "model". The file is replaced atomically.
void save_weights(const Model& model, const std::string& path);
/// Reads parameters by name into the model; every one must be there with the right shape. Throws Error{bad_input}.
void load_weights(Model& model, const std::string& path);

}  // namespace kindling
