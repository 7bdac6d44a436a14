// 2-d convolution: forward with bias and activation, and the input gradient with the derivative of the activation
// below, both applied while the tile is in registers. Images are (channels, width, height, sample), channels innermost.
#include "common/activation.h"
#include "common/image_contraction.h"

namespace kindling {
namespace {

using namespace Halide;

// Y = f(X * W + b), the cross-correlation that deep learning calls convolution.
class ConvForward : public Generator<ConvForward> {
 public:
  GeneratorParam<ActivationForm> activation{"activation", ActivationForm::slope, activation_forms()};

  Input<Buffer<float, 3>> x{"x"};        // (channels_in * width, height, batch)
  Input<Buffer<float, 4>> w{"w"};        // (kernel_width, kernel_height, channels_in, channels_out)
  Input<Buffer<float, 1>> bias{"bias"};  // (channels_out)
  Input<float> slope{"slope"};           // of a piecewise-linear activation for negative arguments
  Input<int> stride{"stride"};
  Input<int> padding{"padding"};
  Output<Buffer<float, 3>> y{"y"};  // (channels_out, out_width * out_height, batch)

  void generate() {
    const Var channel("channel"), pixel("pixel"), sample("sample");
    const Expr channels = w.dim(2).extent(), width = x.dim(0).extent() / channels, height = x.dim(1).extent();
    const Expr padded_width = width + 2 * padding, padded_height = height + 2 * padding;
    const PaddedImage image{[&](Expr i, Expr row, Expr n) { return x(i, row, n); },
                            channels,
                            width,
                            height,
                            x.dim(2).extent(),
                            padding,
                            padding,
                            1,
                            padded_width,
                            padded_height};
    const Windows windows{w.dim(0).extent(),
                          w.dim(1).extent(),
                          stride,
                          0,
                          0,
                          (padded_width - w.dim(0).extent()) / stride + 1,
                          (padded_height - w.dim(1).extent()) / stride + 1};
    pixels_ = windows.pixels();
    product_ = ImageContraction("forward", hardware_facts(get_target()), get_target().has_gpu_feature(), image, windows,
                                w.dim(3).extent(), [&](Expr c, Expr kx, Expr ky, Expr o) { return w(kx, ky, c, o); });
    result_(channel, pixel, sample) = undef<float>();
    product_.store(result_, [&](Expr sum, Expr c, Expr, Expr) { return activate(activation, sum + bias(c), slope); });
    y = result_;
  }

  void schedule() {
    for (int i = 0; i < 3; ++i) x.dim(i).set_min(0);
    for (int i = 0; i < 4; ++i) w.dim(i).set_min(0);
    bias.dim(0).set_bounds(0, w.dim(3).extent());
    y.dim(0).set_bounds(0, w.dim(3).extent());
    y.dim(1).set_bounds(0, pixels_).set_stride(w.dim(3).extent());
    y.dim(2).set_bounds(0, x.dim(2).extent());
    x.dim(1).set_stride(x.dim(0).extent());
    if (get_target().has_gpu_feature()) {
      schedule_gpu();
    } else {
      schedule_cpu();
    }
  }

 private:
  // Measured against oneDNN's convolution with bias and ReLU as post-operations, and this core's multiply-add peak.
  void schedule_cpu() { product_.schedule_cpu(); }

  // Measured by registers and spills under ptxas; executed on PoCL.
  void schedule_gpu() { product_.schedule_gpu(); }

  ImageContraction product_;
  Expr pixels_;
  Func result_{"result"};
};

// dX = f'(X) * (the transposed convolution of dZ), X the output of the activation below. In the direction of a stride,
// dZ's pixels lie that far apart among zeros; the kernel is turned around.
class ConvInputGradient : public Generator<ConvInputGradient> {
 public:
  GeneratorParam<ActivationForm> activation{"activation", ActivationForm::slope, activation_forms()};

  Input<Buffer<float, 3>> dz{"dz"};  // (channels_out * out_width, out_height, batch): gradient at the pre-activations
  Input<Buffer<float, 4>> w{"w"};    // (kernel_width, kernel_height, channels_in, channels_out)
  Input<Buffer<float, 3>> x{"x"};    // (channels_in, width * height, batch)
  Input<float> slope{"slope"};
  Input<int> stride{"stride"};
  Input<int> padding{"padding"};
  Input<int> width{"width"};          // of x
  Output<Buffer<float, 3>> dx{"dx"};  // (channels_in, width * height, batch)

  void generate() {
    const Var channel("channel"), pixel("pixel"), sample("sample");
    const Expr channels = w.dim(3).extent(), kernel_width = w.dim(0).extent(), kernel_height = w.dim(1).extent();
    const Expr height = x.dim(1).extent() / width;
    const Expr out_width = dz.dim(0).extent() / channels, out_height = dz.dim(1).extent();
    // A border wider than the kernel reaches is skipped in the scratch image instead of being cut off dZ.
    const Expr left = max(kernel_width - 1 - padding, 0), top = max(kernel_height - 1 - padding, 0);
    const Expr skip_x = max(padding - (kernel_width - 1), 0), skip_y = max(padding - (kernel_height - 1), 0);
    const PaddedImage image{[&](Expr i, Expr row, Expr n) { return dz(i, row, n); },
                            channels,
                            out_width,
                            out_height,
                            dz.dim(2).extent(),
                            left,
                            top,
                            stride,
                            max(width + skip_x + kernel_width - 1, (out_width - 1) * stride + 1 + left),
                            max(height + skip_y + kernel_height - 1, (out_height - 1) * stride + 1 + top)};
    const Windows windows{kernel_width, kernel_height, 1, skip_x, skip_y, width, height};
    product_ = ImageContraction("input_gradient", hardware_facts(get_target()), get_target().has_gpu_feature(), image,
                                windows, w.dim(2).extent(), [&](Expr o, Expr kx, Expr ky, Expr c) {
                                  return w(kernel_width - 1 - kx, kernel_height - 1 - ky, c, o);
                                });
    result_(channel, pixel, sample) = undef<float>();
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
      p.dim(1).set_min(0).set_stride(w.dim(2).extent());
      p.dim(2).set_bounds(0, dz.dim(2).extent());
    }
    dx.dim(1).set_extent(x.dim(1).extent());
    if (get_target().has_gpu_feature()) {
      schedule_gpu();
    } else {
      schedule_cpu();
    }
  }

 private:
  // Measured against oneDNN's backward convolution and a pass for the mask, and this core's multiply-add peak.
  void schedule_cpu() { product_.schedule_cpu(); }

  // Measured by registers and spills under ptxas; executed on PoCL.
  void schedule_gpu() { product_.schedule_gpu(); }

  ImageContraction product_;
  Func result_{"result"};
};

}  // namespace
}  // namespace kindling

HALIDE_REGISTER_GENERATOR(kindling::ConvForward, conv2d_forward)
HALIDE_REGISTER_GENERATOR(kindling::ConvInputGradient, conv2d_input_gradient)
