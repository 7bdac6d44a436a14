// oneDNN's convolution, pooling and batch normalisation, channels last.
#include <stdexcept>

#include "peers/onednn.h"

namespace kindling::bench {
namespace {

using Tag = memory::format_tag;
constexpr auto f32 = memory::data_type::f32;

// Weights are in the layout that oneDNN asks for, brought there before the clock starts (their gradient back to
// (O, I, kh, kw) within it).
struct ConvolutionPlan {
  explicit ConvolutionPlan(const Convolution& a) {
    const std::int64_t n = a.x.rows(), out_h = a.height + 2 * a.padding - a.kernel + 1,
                       out_w = a.width + 2 * a.padding - a.kernel + 1;
    x = {{n, a.channels_in, a.height, a.width}, f32, Tag::nhwc};
    y = {{n, a.channels_out, out_h, out_w}, f32, Tag::nhwc};
    const memory::dims weights{a.channels_out, a.channels_in, a.kernel, a.kernel};
    plain = {weights, f32, Tag::oihw};
    any = {weights, f32, Tag::any};
    b = {{a.channels_out}, f32, Tag::a};
    strides = {1, 1};
    padding = {a.padding, a.padding};
  }
  [[nodiscard]] dnnl::convolution_forward::primitive_desc forward(dnnl::prop_kind kind, bool relu) const {
    return {
        {kind, dnnl::algorithm::convolution_auto, x, any, b, y, strides, padding, padding}, relu_after(relu), cpu()};
  }
  memory::desc x, y, plain, any, b;
  memory::dims strides, padding;
};

// A copy of the weights in another layout.
memory reordered(const memory::desc& from, const memory::desc& to, const float* data) {
  memory source = over(from, data), target(to, cpu());
  dnnl::stream stream(cpu());
  dnnl::reorder(source, target).execute(stream, source, target);
  stream.wait();
  return target;
}

struct PoolingPlan {
  explicit PoolingPlan(const Pooling& a)
      : algorithm(a.maximum ? dnnl::algorithm::pooling_max : dnnl::algorithm::pooling_avg_include_padding),
        strides{a.stride, a.stride},
        window{a.window, a.window},
        padding{a.padding, a.padding} {
    const std::int64_t n = a.x.rows();
    const std::int64_t out_h = (a.height + 2 * a.padding - a.window) / a.stride + 1,
                       out_w = (a.width + 2 * a.padding - a.window) / a.stride + 1;
    x = {{n, a.channels, a.height, a.width}, f32, Tag::nhwc};
    y = {{n, a.channels, out_h, out_w}, f32, Tag::nhwc};
    forward = {{dnnl::prop_kind::forward_training, algorithm, x, y, strides, window, padding, padding}, cpu()};
  }
  // The places of the maxima. oneDNN calls their form its own affair; in this version they are what the kernels write,
  // a byte an output in the outputs' order, so that the answer can be compared.
  [[nodiscard]] memory places(const Pooling& a) const {
    const memory::desc workspace = forward.workspace_desc();
    if (workspace.get_size() != a.index.size()) throw std::runtime_error("oneDNN's workspace is not a byte an output");
    return {workspace, cpu(), a.index.data()};
  }
  dnnl::algorithm algorithm;
  memory::dims strides, window, padding;
  memory::desc x, y;
  dnnl::pooling_forward::primitive_desc forward;
};

using dnnl::normalization_flags;

struct BatchNormPlan {
  // A dense layer's outputs are images of 1 x 1 pixels: for matrices this oneDNN has a way ten times as slow.
  explicit BatchNormPlan(const BatchNorm& a)
      : x({a.x.rows(), a.channels, a.positions, 1}, f32, Tag::nhwc), c({a.channels}, f32, Tag::a) {}
  [[nodiscard]] dnnl::batch_normalization_forward::primitive_desc forward(const BatchNorm& a, dnnl::prop_kind kind,
                                                                          normalization_flags more) const {
    return {{kind, x, a.epsilon, scale_and_shift | more}, cpu()};
  }
  [[nodiscard]] std::unordered_map<int, memory> arguments(const BatchNorm& a) const {
    return {{DNNL_ARG_SRC, over(x, a.x.data())},
            {DNNL_ARG_MEAN, over(c, a.mean.data())},
            {DNNL_ARG_VARIANCE, over(c, a.variance.data())},
            {DNNL_ARG_SCALE, over(c, a.weight.data())},
            {DNNL_ARG_SHIFT, over(c, a.bias.data())}};
  }
  static inline const auto scale_and_shift = normalization_flags::use_scale | normalization_flags::use_shift;
  memory::desc x, c;
};

}  // namespace

std::function<void()> OneDnnLayers::conv_forward(const Convolution& a) const {
  const ConvolutionPlan c(a);
  const auto plan = c.forward(dnnl::prop_kind::forward_inference, true);
  return bound(dnnl::convolution_forward(plan),
               {{DNNL_ARG_SRC, over(c.x, a.x.data())},
                {DNNL_ARG_WEIGHTS, reordered(c.plain, plan.weights_desc(), a.w.data())},
                {DNNL_ARG_BIAS, over(c.b, a.bias.data())},
                {DNNL_ARG_DST, over(c.y, a.y.data())}});
}

std::function<void()> OneDnnLayers::conv_input_gradient(const Convolution& a) const {
  const ConvolutionPlan c(a);
  const dnnl::convolution_backward_data::primitive_desc plan(
      {dnnl::algorithm::convolution_auto, c.x, c.any, c.y, c.strides, c.padding, c.padding}, cpu(),
      c.forward(dnnl::prop_kind::forward_training, false));
  return bound(dnnl::convolution_backward_data(plan),
               {{DNNL_ARG_DIFF_DST, over(c.y, a.dz.data())},
                {DNNL_ARG_WEIGHTS, reordered(c.plain, plan.weights_desc(), a.w.data())},
                {DNNL_ARG_DIFF_SRC, over(c.x, a.dx.data())}});
}

std::function<void()> OneDnnLayers::conv_weight_gradient(const Convolution& a) const {
  const ConvolutionPlan c(a);
  const dnnl::convolution_backward_weights::primitive_desc plan(
      {dnnl::algorithm::convolution_auto, c.x, c.any, c.b, c.y, c.strides, c.padding, c.padding}, cpu(),
      c.forward(dnnl::prop_kind::forward_training, false));
  memory gradient(plan.diff_weights_desc(), cpu()), out = over(c.plain, a.dw.data());
  const auto run = bound(dnnl::convolution_backward_weights(plan), {{DNNL_ARG_SRC, over(c.x, a.x.data())},
                                                                    {DNNL_ARG_DIFF_DST, over(c.y, a.dz.data())},
                                                                    {DNNL_ARG_DIFF_WEIGHTS, gradient},
                                                                    {DNNL_ARG_DIFF_BIAS, over(c.b, a.db.data())}});
  const auto back = bound(dnnl::reorder(gradient, out), {{DNNL_ARG_FROM, gradient}, {DNNL_ARG_TO, out}});
  return [run, back] {
    run();
    back();
  };
}

std::function<void()> OneDnnLayers::pool_forward(const Pooling& a) const {
  const PoolingPlan p(a);
  std::unordered_map<int, memory> arguments{{DNNL_ARG_SRC, over(p.x, a.x.data())},
                                            {DNNL_ARG_DST, over(p.y, a.y.data())}};
  if (a.maximum) arguments.emplace(DNNL_ARG_WORKSPACE, p.places(a));
  return bound(dnnl::pooling_forward(p.forward), std::move(arguments));
}

std::function<void()> OneDnnLayers::pool_gradient(const Pooling& a) const {
  const PoolingPlan p(a);
  const dnnl::pooling_backward::primitive_desc plan({p.algorithm, p.x, p.y, p.strides, p.window, p.padding, p.padding},
                                                    cpu(), p.forward);
  std::unordered_map<int, memory> arguments{{DNNL_ARG_DIFF_DST, over(p.y, a.dy.data())},
                                            {DNNL_ARG_DIFF_SRC, over(p.x, a.dx.data())}};
  if (a.maximum) arguments.emplace(DNNL_ARG_WORKSPACE, p.places(a));
  return bound(dnnl::pooling_backward(plan), std::move(arguments));
}

std::function<void()> OneDnnLayers::batch_norm_forward(const BatchNorm& a) const {
  const BatchNormPlan p(a);
  const auto plan = p.forward(a, dnnl::prop_kind::forward_training, normalization_flags::fuse_norm_relu);
  auto arguments = p.arguments(a);
  arguments.emplace(DNNL_ARG_DST, over(p.x, a.y.data()));
  arguments.emplace(DNNL_ARG_WORKSPACE, memory(plan.workspace_desc(), cpu()));
  return bound(dnnl::batch_normalization_forward(plan), std::move(arguments));
}

std::function<void()> OneDnnLayers::batch_norm_inference(const BatchNorm& a) const {
  const BatchNormPlan p(a);
  const auto plan = p.forward(a, dnnl::prop_kind::forward_inference,
                              normalization_flags::fuse_norm_relu | normalization_flags::use_global_stats);
  auto arguments = p.arguments(a);
  arguments.emplace(DNNL_ARG_DST, over(p.x, a.y.data()));
  return bound(dnnl::batch_normalization_forward(plan), std::move(arguments));
}

std::function<void()> OneDnnLayers::batch_norm_gradient(const BatchNorm& a) const {
  const BatchNormPlan p(a);
  const dnnl::batch_normalization_backward::primitive_desc plan(
      {dnnl::prop_kind::backward, p.x, p.x, a.epsilon, BatchNormPlan::scale_and_shift}, cpu(),
      p.forward(a, dnnl::prop_kind::forward_training, normalization_flags::none));
  auto arguments = p.arguments(a);
  arguments.emplace(DNNL_ARG_DIFF_DST, over(p.x, a.dz.data()));
  arguments.emplace(DNNL_ARG_DIFF_SRC, over(p.x, a.dx.data()));
  arguments.emplace(DNNL_ARG_DIFF_SCALE, over(p.c, a.dweight.data()));
  arguments.emplace(DNNL_ARG_DIFF_SHIFT, over(p.c, a.dbias.data()));
  return bound(dnnl::batch_normalization_backward(plan), std::move(arguments));
}

}  // namespace kindling::bench
