// 2-d convolution with a kernel of 3 x 3 and stride 1 by Winograd's filtering: forward with bias and activation, and
// the input gradient, as conv_generator.cpp has them. Images are (channels, width, height, sample), channels innermost.
#include "common/activation.h"
#include "common/winograd.h"

namespace kindling {
namespace {

using namespace Halide;

// What both have in common: an image, weights, and a result that is an image, too.
template <class Derived>
class Winograd : public Generator<Derived> {
 public:
  GeneratorParam<ActivationForm> activation{"activation", ActivationForm::slope, activation_forms()};

 protected:
  // Measured against oneDNN's convolutions and this core's multiply-add peak; on a GPU by registers under ptxas.
  void schedule_product() {
    if (this->get_target().has_gpu_feature()) {
      product_.schedule_gpu();
    } else {
      product_.schedule_cpu();
    }
  }

  Var channel_{"channel"}, pixel_{"pixel"}, sample_{"sample"};
  WinogradContraction product_;
  Func result_{"result"};
};

class WinogradForward : public Winograd<WinogradForward> {
 public:
  Input<Buffer<float, 3>> x{"x"};        // (channels_in * width, height, batch)
  Input<Buffer<float, 4>> w{"w"};        // (3, 3, channels_in, channels_out)
  Input<Buffer<float, 1>> bias{"bias"};  // (channels_out)
  Input<float> slope{"slope"};           // of a piecewise-linear activation for negative arguments
  Input<int> padding{"padding"};         // at most 2
  Output<Buffer<float, 3>> y{"y"};       // (channels_out, out_width * out_height, batch)

  void generate() {
    const Expr channels = w.dim(2).extent();
    const WinogradImage image{[&](Expr c, Expr i, Expr row, Expr n) { return x(i * channels + c, row, n); }, channels,
                              x.dim(0).extent() / channels, x.dim(1).extent(), x.dim(2).extent()};
    product_ =
        WinogradContraction("forward", hardware_facts(get_target()), get_target().has_gpu_feature(), image, padding,
                            w.dim(3).extent(), [&](Expr c, Expr kx, Expr ky, Expr o) { return w(kx, ky, c, o); });
    result_(channel_, pixel_, sample_) = undef<float>();
    product_.store(result_, [&](Expr sum, Expr c, Expr, Expr) { return activate(activation, sum + bias(c), slope); });
    y = result_;
  }

  void schedule() {
    for (int i = 0; i < 3; ++i) x.dim(i).set_min(0);
    for (int i = 0; i < 4; ++i) w.dim(i).set_min(0);
    bias.dim(0).set_bounds(0, w.dim(3).extent());
    y.dim(0).set_bounds(0, w.dim(3).extent());
    y.dim(1).set_bounds(0, product_.pixels()).set_stride(w.dim(3).extent());
    y.dim(2).set_bounds(0, x.dim(2).extent());
    x.dim(1).set_stride(x.dim(0).extent());
    schedule_product();
  }
};

// dX = f'(X) * (the convolution of dZ with the kernel turned around), X the output of the activation below.
class WinogradInputGradient : public Winograd<WinogradInputGradient> {
 public:
  Input<Buffer<float, 3>> dz{"dz"};  // (channels_out * out_width, out_height, batch): gradient at the pre-activations
  Input<Buffer<float, 4>> w{"w"};    // (3, 3, channels_in, channels_out)
  Input<Buffer<float, 3>> x{"x"};    // (channels_in, width * height, batch)
  Input<float> slope{"slope"};
  Input<int> padding{"padding"};      // of the forward pass, at most 2
  Output<Buffer<float, 3>> dx{"dx"};  // (channels_in, width * height, batch)

  void generate() {
    const Expr channels = w.dim(3).extent();
    const WinogradImage image{[&](Expr c, Expr i, Expr row, Expr n) { return dz(i * channels + c, row, n); }, channels,
                              dz.dim(0).extent() / channels, dz.dim(1).extent(), dz.dim(2).extent()};
    product_ = WinogradContraction("input_gradient", hardware_facts(get_target()), get_target().has_gpu_feature(),
                                   image, 2 - padding, w.dim(2).extent(),
                                   [&](Expr o, Expr kx, Expr ky, Expr c) { return w(2 - kx, 2 - ky, c, o); });
    result_(channel_, pixel_, sample_) = undef<float>();
    product_.store(result_, [&](Expr sum, Expr c, Expr p, Expr n) {
      return through_derivative(activation, x(c, p, n), slope, sum);
    });
    dx = result_;
  }

  void schedule() {
    for (int i = 0; i < 3; ++i) dz.dim(i).set_min(0);
    for (int i = 0; i < 4; ++i) w.dim(i).set_min(0);
    dz.dim(1).set_stride(dz.dim(0).extent());
    for (OutputImageParam p : {OutputImageParam(x), OutputImageParam(dx)}) {
      p.dim(0).set_bounds(0, w.dim(2).extent());
      p.dim(1).set_bounds(0, product_.pixels()).set_stride(w.dim(2).extent());
      p.dim(2).set_bounds(0, dz.dim(2).extent());
    }
    schedule_product();
  }
};

}  // namespace
}  // namespace kindling

HALIDE_REGISTER_GENERATOR(kindling::WinogradForward, winograd_forward)
HALIDE_REGISTER_GENERATOR(kindling::WinogradInputGradient, winograd_input_gradient)
