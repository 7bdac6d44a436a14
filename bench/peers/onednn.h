// What the peers made of oneDNN share. Primitives are made before the clock starts.
#pragma once

#include <omp.h>

#include <oneapi/dnnl/dnnl.hpp>
#include <unordered_map>

#include "peers/peers.h"

namespace kindling::bench {

using dnnl::memory;

inline const dnnl::engine& cpu() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

inline memory::desc matrix(std::int64_t rows, std::int64_t cols, std::int64_t row_stride, std::int64_t col_stride) {
  return {{rows, cols}, memory::data_type::f32, memory::dims{row_stride, col_stride}};
}

// A memory object over somebody else's floats; oneDNN's interface knows no constant memory.
inline memory over(const memory::desc& desc, const float* data) { return {desc, cpu(), const_cast<float*>(data)}; }

inline dnnl::primitive_attr relu_after(bool relu) {
  dnnl::primitive_attr attributes;
  if (relu) {
    dnnl::post_ops post;
    post.append_eltwise(1.0F, dnnl::algorithm::eltwise_relu, 0.0F, 0.0F);
    attributes.set_post_ops(post);
  }
  return attributes;
}

inline std::function<void()> bound(dnnl::primitive primitive, std::unordered_map<int, memory> arguments) {
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

/// Layers on images that stay channels last, as all contestants have them (onednn_layers.cpp).
class OneDnnLayers : public OneDnnPeer {
 public:
  [[nodiscard]] std::function<void()> conv_forward(const Convolution& arguments) const override;
  [[nodiscard]] std::function<void()> conv_input_gradient(const Convolution& arguments) const override;
  [[nodiscard]] std::function<void()> conv_weight_gradient(const Convolution& arguments) const override;
  [[nodiscard]] std::function<void()> pool_forward(const Pooling& arguments) const override;
  [[nodiscard]] std::function<void()> pool_gradient(const Pooling& arguments) const override;
  [[nodiscard]] std::function<void()> batch_norm_forward(const BatchNorm& arguments) const override;
  [[nodiscard]] std::function<void()> batch_norm_inference(const BatchNorm& arguments) const override;
  [[nodiscard]] std::function<void()> batch_norm_gradient(const BatchNorm& arguments) const override;
};

}  // namespace kindling::bench
