// oneDNN: bias and ReLU as post-operations of its primitives, so that it too makes one pass. Both primitives that fit
// are peers: inner_product, and matmul. Weights stay in the row-major order that all contestants share; primitives are
// made before the clock starts.
#include <omp.h>

#include <oneapi/dnnl/dnnl.hpp>
#include <unordered_map>

#include "peers/peers.h"

namespace kindling::bench {
namespace {

using dnnl::memory;

const dnnl::engine& cpu() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

memory::desc matrix(std::int64_t rows, std::int64_t cols, std::int64_t row_stride, std::int64_t col_stride) {
  return {{rows, cols}, memory::data_type::f32, memory::dims{row_stride, col_stride}};
}

// A memory object over somebody else's floats; oneDNN's interface knows no constant memory.
memory over(const memory::desc& desc, const float* data) { return {desc, cpu(), const_cast<float*>(data)}; }

dnnl::primitive_attr relu_after(bool relu) {
  dnnl::primitive_attr attributes;
  if (relu) {
    dnnl::post_ops post;
    post.append_eltwise(1.0F, dnnl::algorithm::eltwise_relu, 0.0F, 0.0F);
    attributes.set_post_ops(post);
  }
  return attributes;
}

std::function<void()> bind(dnnl::primitive primitive, std::unordered_map<int, memory> arguments) {
  return [primitive = std::move(primitive), arguments = std::move(arguments), stream = dnnl::stream(cpu())]() mutable {
    primitive.execute(stream, arguments);
    stream.wait();
  };
}

class OneDnnPeer : public Peer {
 public:
  [[nodiscard]] std::string version() const override {
    const dnnl_version_t* v = dnnl_version();
    return "oneDNN " + std::to_string(v->major) + "." + std::to_string(v->minor) + "." + std::to_string(v->patch);
  }
  void set_threads(int threads) const override { omp_set_num_threads(threads); }
};

// Images stay channels last, as all contestants have them; weights are in the layout that oneDNN asks for, brought
// there before the clock starts (their gradient back to (O, I, kh, kw) within it).
struct ConvolutionPlan {
  explicit ConvolutionPlan(const Convolution& a) {
    const std::int64_t n = a.x.rows(), out_h = a.height + 2 * a.padding - a.kernel + 1,
                       out_w = a.width + 2 * a.padding - a.kernel + 1;
    using Tag = memory::format_tag;
    constexpr auto f32 = memory::data_type::f32;
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

class InnerProduct final : public OneDnnPeer {
 public:
  [[nodiscard]] std::function<void()> dense_forward(const DenseForward& a) const override {
    const auto x = matrix(a.x.rows(), a.x.cols(), a.x.row_stride(), 1);
    const auto w = matrix(a.w.rows(), a.w.cols(), a.w.row_stride(), 1);
    const auto b = memory::desc({a.w.rows()}, memory::data_type::f32, memory::format_tag::a);
    const auto y = matrix(a.y.rows(), a.y.cols(), a.y.row_stride(), 1);
    const dnnl::inner_product_forward::desc operation(dnnl::prop_kind::forward_inference, x, w, b, y);
    const dnnl::inner_product_forward::primitive_desc plan(operation, relu_after(a.relu), cpu());
    return bind(dnnl::inner_product_forward(plan), {{DNNL_ARG_SRC, over(x, a.x.data())},
                                                    {DNNL_ARG_WEIGHTS, over(w, a.w.data())},
                                                    {DNNL_ARG_BIAS, over(b, a.bias.data())},
                                                    {DNNL_ARG_DST, over(y, a.y.data())}});
  }
  [[nodiscard]] std::function<void()> conv_forward(const Convolution& a) const override {
    const ConvolutionPlan c(a);
    const auto plan = c.forward(dnnl::prop_kind::forward_inference, true);
    return bind(dnnl::convolution_forward(plan),
                {{DNNL_ARG_SRC, over(c.x, a.x.data())},
                 {DNNL_ARG_WEIGHTS, reordered(c.plain, plan.weights_desc(), a.w.data())},
                 {DNNL_ARG_BIAS, over(c.b, a.bias.data())},
                 {DNNL_ARG_DST, over(c.y, a.y.data())}});
  }
  [[nodiscard]] std::function<void()> conv_input_gradient(const Convolution& a) const override {
    const ConvolutionPlan c(a);
    const dnnl::convolution_backward_data::primitive_desc plan(
        {dnnl::algorithm::convolution_auto, c.x, c.any, c.y, c.strides, c.padding, c.padding}, cpu(),
        c.forward(dnnl::prop_kind::forward_training, false));
    return bind(dnnl::convolution_backward_data(plan),
                {{DNNL_ARG_DIFF_DST, over(c.y, a.dz.data())},
                 {DNNL_ARG_WEIGHTS, reordered(c.plain, plan.weights_desc(), a.w.data())},
                 {DNNL_ARG_DIFF_SRC, over(c.x, a.dx.data())}});
  }
  [[nodiscard]] std::function<void()> conv_weight_gradient(const Convolution& a) const override {
    const ConvolutionPlan c(a);
    const dnnl::convolution_backward_weights::primitive_desc plan(
        {dnnl::algorithm::convolution_auto, c.x, c.any, c.b, c.y, c.strides, c.padding, c.padding}, cpu(),
        c.forward(dnnl::prop_kind::forward_training, false));
    memory gradient(plan.diff_weights_desc(), cpu()), out = over(c.plain, a.dw.data());
    const auto run = bind(dnnl::convolution_backward_weights(plan), {{DNNL_ARG_SRC, over(c.x, a.x.data())},
                                                                     {DNNL_ARG_DIFF_DST, over(c.y, a.dz.data())},
                                                                     {DNNL_ARG_DIFF_WEIGHTS, gradient},
                                                                     {DNNL_ARG_DIFF_BIAS, over(c.b, a.db.data())}});
    const auto back = bind(dnnl::reorder(gradient, out), {{DNNL_ARG_FROM, gradient}, {DNNL_ARG_TO, out}});
    return [run, back] {
      run();
      back();
    };
  }
};

class MatMul final : public OneDnnPeer {
 public:
  [[nodiscard]] std::function<void()> dense_forward(const DenseForward& a) const override {
    const auto x = matrix(a.x.rows(), a.x.cols(), a.x.row_stride(), 1);
    const auto w = matrix(a.w.cols(), a.w.rows(), 1, a.w.row_stride());  // the transpose, by its strides
    const auto b = matrix(1, a.w.rows(), a.w.rows(), 1);
    const auto y = matrix(a.y.rows(), a.y.cols(), a.y.row_stride(), 1);
    const dnnl::matmul::desc operation(x, w, b, y);
    const dnnl::matmul::primitive_desc plan(operation, relu_after(a.relu), cpu());
    return bind(dnnl::matmul(plan), {{DNNL_ARG_SRC, over(x, a.x.data())},
                                     {DNNL_ARG_WEIGHTS, over(w, a.w.data())},
                                     {DNNL_ARG_BIAS, over(b, a.bias.data())},
                                     {DNNL_ARG_DST, over(y, a.y.data())}});
  }
};

}  // namespace

const Peer& onednn_inner_product_peer() {
  static const InnerProduct peer;
  return peer;
}

const Peer& onednn_matmul_peer() {
  static const MatMul peer;
  return peer;
}

}  // namespace kindling::bench
