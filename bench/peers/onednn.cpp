// oneDNN: bias and ReLU as post-operations of its primitives, so that it too makes one pass. Both primitives that fit
// are peers: inner_product, and matmul. Weights stay in the row-major order that all contestants share; primitives are
// made before the clock starts.
#include "peers/onednn.h"

namespace kindling::bench {
namespace {

class InnerProduct final : public OneDnnLayers {
 public:
  [[nodiscard]] std::function<void()> dense_forward(const DenseForward& a) const override {
    const auto x = matrix(a.x.rows(), a.x.cols(), a.x.row_stride(), 1);
    const auto w = matrix(a.w.rows(), a.w.cols(), a.w.row_stride(), 1);
    const auto b = memory::desc({a.w.rows()}, memory::data_type::f32, memory::format_tag::a);
    const auto y = matrix(a.y.rows(), a.y.cols(), a.y.row_stride(), 1);
    const dnnl::inner_product_forward::desc operation(dnnl::prop_kind::forward_inference, x, w, b, y);
    const dnnl::inner_product_forward::primitive_desc plan(operation, relu_after(a.relu), cpu());
    return bound(dnnl::inner_product_forward(plan), {{DNNL_ARG_SRC, over(x, a.x.data())},
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
    return bound(dnnl::matmul(plan), {{DNNL_ARG_SRC, over(x, a.x.data())},
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
