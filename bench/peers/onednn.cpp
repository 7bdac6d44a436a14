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
