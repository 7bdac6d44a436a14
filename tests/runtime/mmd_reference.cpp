#include "runtime/mmd_reference.h"

#include <Eigen/QR>
#include <algorithm>
#include <cmath>

#include "kernels/perturbed.h"
#include "kernels/random.h"

namespace kindling::test {
namespace {

using Eigen::MatrixXd;
using Eigen::RowVectorXd;

double activation(const Activation& a, double u) {
  switch (a.kind) {
    case ActivationKind::identity: return u;
    case ActivationKind::relu: return std::max(u, 0.0);
    case ActivationKind::leaky_relu: return u > 0 ? u : double{a.negative_slope} * u;
    case ActivationKind::tanh: return std::tanh(u);
    case ActivationKind::sigmoid: return 1 / (1 + std::exp(-u));
  }
  return u;
}

double derivative(const Activation& a, double u) {
  switch (a.kind) {
    case ActivationKind::identity: return 1;
    case ActivationKind::relu: return u > 0 ? 1 : 0;
    case ActivationKind::leaky_relu: return u > 0 ? 1 : double{a.negative_slope};
    case ActivationKind::tanh: return 1 - std::tanh(u) * std::tanh(u);
    case ActivationKind::sigmoid: return activation(a, u) * (1 - activation(a, u));
  }
  return 1;
}

MatrixXd apply(const Activation& a, const MatrixXd& u) {
  return u.unaryExpr([&](double v) { return activation(a, v); });
}

// Normal draws of a stream from a block on, times `stddev`.
std::vector<double> draws(const Stream& stream, double stddev, std::int64_t size, std::int64_t block) {
  std::vector<float> values(static_cast<std::size_t>(size));
  kernels::philox_normal(kernels::execution({}), stream, 0, static_cast<float>(stddev), values,
                         static_cast<std::uint32_t>(block));
  return {values.begin(), values.end()};
}

std::int64_t blocks(std::int64_t n) { return (n + 3) / 4; }

// Mean and 1 / sqrt(variance + epsilon) of every channel (columns are positions x channels).
void statistics(const MatrixXd& x, std::int64_t channels, RowVectorXd& mean, RowVectorXd& inverse) {
  mean = RowVectorXd::Zero(channels);
  inverse = RowVectorXd::Zero(channels);
  const double n = static_cast<double>(x.size() / channels);
  for (Eigen::Index c = 0; c < x.cols(); ++c) mean(c % channels) += x.col(c).sum() / n;
  for (Eigen::Index c = 0; c < x.cols(); ++c)
    inverse(c % channels) += (x.col(c).array() - mean(c % channels)).square().sum() / n;
  inverse = (inverse.array() + double{Layer::batch_norm_epsilon}).sqrt().inverse();
}

MatrixXd max_pool(const MatrixXd& x, const Layer& l) {
  MatrixXd y(x.rows(), l.output.features());
  for (Eigen::Index n = 0; n < x.rows(); ++n)
    for (std::int64_t h = 0; h < l.output.height; ++h)
      for (std::int64_t w = 0; w < l.output.width; ++w)
        for (std::int64_t c = 0; c < l.output.channels; ++c) {
          double best = -1e300;
          for (std::int64_t i = 0; i < l.window.height; ++i)
            for (std::int64_t j = 0; j < l.window.width; ++j) {
              const std::int64_t row = h * l.window.stride + i, col = w * l.window.stride + j;
              best = std::max(best, x(n, (row * l.input.width + col) * l.input.channels + c));
            }
          y(n, (h * l.output.width + w) * l.output.channels + c) = best;
        }
  return y;
}

MatrixXd average_pool(const MatrixXd& x, const Layer& l) {
  MatrixXd y = MatrixXd::Zero(x.rows(), l.output.features());
  for (std::int64_t h = 0; h < l.output.height; ++h)
    for (std::int64_t w = 0; w < l.output.width; ++w)
      for (std::int64_t c = 0; c < l.output.channels; ++c)
        for (std::int64_t i = 0; i < l.window.height; ++i)
          for (std::int64_t j = 0; j < l.window.width; ++j) {
            const std::int64_t row = h * l.window.stride + i, col = w * l.window.stride + j;
            y.col((h * l.output.width + w) * l.output.channels + c) +=
                x.col((row * l.input.width + col) * l.input.channels + c) /
                static_cast<double>(l.window.height * l.window.width);
          }
  return y;
}

MatrixXd flatten(const MatrixXd& x, const ImageShape& shape) {
  MatrixXd y(x.rows(), x.cols());
  for (std::int64_t p = 0; p < shape.height * shape.width; ++p)
    for (std::int64_t c = 0; c < shape.channels; ++c)
      y.col(c * shape.height * shape.width + p) = x.col(p * shape.channels + c);
  return y;
}

MatrixXd convolution(const MatrixXd& x, const Layer& l, const std::vector<double>& weight,
                     const std::vector<double>& bias) {
  MatrixXd y(x.rows(), l.output.features());
  for (Eigen::Index n = 0; n < x.rows(); ++n)
    for (std::int64_t h = 0; h < l.output.height; ++h)
      for (std::int64_t w = 0; w < l.output.width; ++w)
        for (std::int64_t o = 0; o < l.output.channels; ++o) {
          double sum = bias[static_cast<std::size_t>(o)];
          for (std::int64_t c = 0; c < l.input.channels; ++c)
            for (std::int64_t i = 0; i < l.window.height; ++i)
              for (std::int64_t j = 0; j < l.window.width; ++j) {
                const std::int64_t row = h * l.window.stride + i - l.window.padding;
                const std::int64_t col = w * l.window.stride + j - l.window.padding;
                if (row < 0 || row >= l.input.height || col < 0 || col >= l.input.width) continue;
                sum += weight[static_cast<std::size_t>(
                           ((o * l.input.channels + c) * l.window.height + i) * l.window.width + j)] *
                       x(n, (row * l.input.width + col) * l.input.channels + c);
              }
          y(n, (h * l.output.width + w) * l.output.channels + o) = sum;
        }
  return y;
}

double mean_kernel(const MatrixXd& a, const MatrixXd& b, double gamma, bool skip_equal) {
  double sum = 0, count = 0;
  for (Eigen::Index i = 0; i < a.rows(); ++i)
    for (Eigen::Index j = 0; j < b.rows(); ++j) {
      if (skip_equal && i == j) continue;
      sum += std::exp(-(a.row(i) - b.row(j)).squaredNorm() / (2 * gamma * gamma));
      ++count;
    }
  return sum / count;
}

}  // namespace

MmdReference::MmdReference(const Model& model, ConstTensorView x, const MmdOptions& options, std::uint64_t seed,
                           std::uint32_t step)
    : model_(model), options_(options), x_(x.rows(), x.cols()) {
  const ImageShape& in = model.layers().front().input;
  for (std::int64_t n = 0; n < x.rows(); ++n)
    for (std::int64_t p = 0; p < in.height * in.width; ++p)
      for (std::int64_t c = 0; c < in.channels; ++c) x_(n, p * in.channels + c) = x(n, c * in.height * in.width + p);
  const std::int64_t s = options.perturbations, d = model.outputs();
  bool first = true;
  for (std::size_t i = 0; i < model.layers().size(); ++i) {
    const Layer& l = model.layers()[i];
    parameters_.push_back(
        {{l.weight.flat().begin(), l.weight.flat().end()}, {l.bias.flat().begin(), l.bias.flat().end()}});
    noise_.emplace_back();
    if (!l.has_neurons()) continue;
    const Stream stream{seed, Purpose::perturbation, static_cast<std::uint32_t>(i), step};
    const double of_weight = std::sqrt(options.scale_squared / static_cast<double>(l.fan_in()));
    const double of_bias = std::sqrt(options.scale_squared / static_cast<double>(l.units()));
    const bool span = first && l.kind == LayerKind::dense && options.span && x.rows() < l.fan_in();
    const std::int64_t fan_in = span ? x.rows() : l.fan_in();
    const std::int64_t weight_blocks =
        l.kind == LayerKind::dense ? l.units() * blocks(fan_in) : blocks(l.weight.size());
    for (std::int64_t k = 0; k < s; ++k) {
      const std::int64_t block = k * (weight_blocks + blocks(l.units()));
      Parameters noise;
      noise.bias = draws(stream, of_bias, l.units(), block + weight_blocks);
      if (l.kind == LayerKind::conv2d) {
        noise.weight = draws(stream, of_weight, l.weight.size(), block);
      } else {
        for (std::int64_t m = 0; m < l.units(); ++m) {
          const auto row = draws(stream, of_weight, fan_in, block + m * blocks(fan_in));
          noise.weight.insert(noise.weight.end(), row.begin(), row.end());
        }
      }
      if (span) {
        // X^T = Q R in float32, as the signs of R follow from the algorithm.
        Eigen::MatrixXf t = x_.transpose().cast<float>();
        const Eigen::HouseholderQR<Eigen::MatrixXf> qr(t);
        MatrixXd r = MatrixXd::Zero(x.rows(), x.rows());
        for (std::int64_t a = 0; a < x.rows(); ++a)
          for (std::int64_t b = a; b < x.rows(); ++b) r(a, b) = double{qr.matrixQR()(a, b)};
        const Eigen::Map<const Eigen::Matrix<double, -1, -1, Eigen::RowMajor>> e(noise.weight.data(), l.units(),
                                                                                 fan_in);
        span_noise_.emplace_back(r.transpose() * e.transpose());
        noise.weight.assign(static_cast<std::size_t>(l.weight.size()), 0.0);
        span_layer_ = i;
      }
      noise_.back().push_back(std::move(noise));
    }
    first = false;
  }
  mean_.resize(model.layers().size());
  inverse_.resize(model.layers().size());
  MatrixXd z = x_;
  for (std::size_t i = 0; i < model.layers().size(); ++i) {
    const Layer& l = model.layers()[i];
    if (l.kind == LayerKind::batch_norm) statistics(z, l.weight.size(), mean_[i], inverse_[i]);
    z = affine(z, i, -1);
    if (l.has_neurons() || l.kind == LayerKind::batch_norm) z = apply(l.activation, z);
  }
  std::vector<float> u(static_cast<std::size_t>(x.rows() * s * d));
  kernels::philox_simplex(kernels::execution({}), {seed, Purpose::perturbation, 0x80000000U, step},
                          TensorView(u.data(), {x.rows() * s, d}));
  std::vector<MatrixXd> outputs;
  for (std::int64_t k = 0; k < s; ++k) outputs.push_back(run(x_, k));
  for (std::int64_t n = 0; n < x.rows(); ++n) {
    MatrixXd of_x(s, d);
    for (std::int64_t k = 0; k < s; ++k)
      for (std::int64_t j = 0; j < d; ++j) of_x(k, j) = double{u[static_cast<std::size_t>((n * s + k) * d + j)]};
    uniform_.push_back(of_x);
    if (options.bandwidth) {
      bandwidth_.push_back(*options.bandwidth);
      continue;
    }
    MatrixXd pooled(2 * s, d);
    for (std::int64_t k = 0; k < s; ++k) pooled.row(k) = outputs[static_cast<std::size_t>(k)].row(n);
    pooled.bottomRows(s) = of_x;
    std::vector<double> distances;
    for (Eigen::Index a = 0; a < pooled.rows(); ++a)
      for (Eigen::Index b = a + 1; b < pooled.rows(); ++b) distances.push_back((pooled.row(a) - pooled.row(b)).norm());
    std::sort(distances.begin(), distances.end());
    const std::size_t half = distances.size() / 2;
    bandwidth_.push_back(distances.size() % 2 == 1 ? distances[half] : (distances[half - 1] + distances[half]) / 2);
  }
}

MmdReference::Parameters MmdReference::perturbed(std::size_t index, std::int64_t sample) const {
  Parameters p = parameters_[index];
  if (sample < 0 || noise_[index].empty()) return p;
  const Parameters& noise = noise_[index][static_cast<std::size_t>(sample)];
  for (std::size_t i = 0; i < p.weight.size(); ++i) p.weight[i] += noise.weight[i];
  for (std::size_t i = 0; i < p.bias.size(); ++i) p.bias[i] += noise.bias[i];
  return p;
}

// What a layer gives before its activation. Batch-norm: the batch's own statistics in a sample, the frozen ones at
// theta0.
MmdReference::Matrix MmdReference::affine(const Matrix& x, std::size_t index, std::int64_t sample) const {
  const Layer& l = model_.layers()[index];
  const Parameters p = perturbed(index, sample);
  switch (l.kind) {
    case LayerKind::dense: {
      const Eigen::Map<const Eigen::Matrix<double, -1, -1, Eigen::RowMajor>> w(p.weight.data(), l.units(), l.fan_in());
      Matrix u = x * w.transpose();
      if (sample >= 0 && index == span_layer_) u += span_noise_[static_cast<std::size_t>(sample)];
      return u.rowwise() + Eigen::Map<const RowVectorXd>(p.bias.data(), l.units());
    }
    case LayerKind::conv2d: return convolution(x, l, p.weight, p.bias);
    case LayerKind::max_pool: return max_pool(x, l);
    case LayerKind::average_pool: return average_pool(x, l);
    case LayerKind::flatten: return flatten(x, l.input);
    case LayerKind::batch_norm: {
      const std::int64_t channels = l.weight.size();
      RowVectorXd mean = mean_[index], inverse = inverse_[index];
      if (sample >= 0) statistics(x, channels, mean, inverse);
      Matrix u(x.rows(), x.cols());
      for (Eigen::Index c = 0; c < x.cols(); ++c) {
        const auto k = static_cast<std::size_t>(c % channels);
        u.col(c) = (x.col(c).array() - mean(c % channels)) * inverse(c % channels) * p.weight[k] + p.bias[k];
      }
      return u;
    }
    case LayerKind::dropout: return x;
  }
  throw Error(ErrorCode::usage, "a layer that the reference does not know");
}

// Softmax outputs, B x d.
MmdReference::Matrix MmdReference::run(const Matrix& x, std::int64_t sample) const {
  Matrix z = x;
  for (std::size_t i = 0; i < model_.layers().size(); ++i) {
    const Activation& a = model_.layers()[i].activation;
    const bool has = model_.layers()[i].has_neurons() || model_.layers()[i].kind == LayerKind::batch_norm;
    z = affine(z, i, sample);
    if (has) z = apply(a, z);
  }
  Matrix p = (z.colwise() - z.rowwise().maxCoeff()).array().exp();
  for (Eigen::Index n = 0; n < p.rows(); ++n) p.row(n) /= p.row(n).sum();
  return p;
}

// The matrix of a layer's (affine, or for max-pooling piecewise linear) map at z, without its activation.
MmdReference::Matrix MmdReference::matrix_of(const Matrix& z, std::size_t index) const {
  const Layer& l = model_.layers()[index];
  Matrix m(l.output.features(), z.cols());
  const bool pool = l.kind == LayerKind::max_pool;
  const Matrix base = pool ? z : Matrix::Zero(1, z.cols());
  const double h = pool ? 1e-7 : 1;
  const Matrix at_base = affine(base, index, -1);
  for (Eigen::Index k = 0; k < z.cols(); ++k) {
    Matrix moved = base;
    moved(0, k) += h;
    const Matrix slope = (affine(moved, index, -1) - at_base) / h;
    m.col(k) = pool ? Matrix(slope.array().round().transpose()) : Matrix(slope.transpose());
  }
  return m;
}

double MmdReference::detachment() const {
  const auto& layers = model_.layers();
  const std::int64_t d = model_.outputs();
  double sum = 0;
  for (Eigen::Index n = 0; n < x_.rows(); ++n) {
    std::vector<Matrix> inputs{x_.row(n)}, u;
    for (std::size_t i = 0; i < layers.size(); ++i) {
      u.push_back(affine(inputs.back(), i, -1));
      const bool active = layers[i].has_neurons() || layers[i].kind == LayerKind::batch_norm;
      inputs.push_back(active ? apply(layers[i].activation, u.back()) : u.back());
    }
    std::vector<double> furthest(static_cast<std::size_t>(d), -1);
    Matrix j = Matrix::Identity(d, d);
    const auto point = [&] {
      for (std::int64_t r = 0; r < d; ++r) {
        const double gap = 1 - j.row(r).norm();
        furthest[static_cast<std::size_t>(r)] = std::max(furthest[static_cast<std::size_t>(r)], gap * gap);
      }
    };
    for (std::size_t i = layers.size(); i-- > 0;) {
      const bool active = layers[i].has_neurons() || layers[i].kind == LayerKind::batch_norm;
      if (active && i + 1 < layers.size()) {
        for (Eigen::Index k = 0; k < j.cols(); ++k) j.col(k) *= derivative(layers[i].activation, u[i](0, k));
        if (layers[i + 1].kind != LayerKind::batch_norm) point();
      }
      j = j * matrix_of(inputs[i], i);
    }
    point();
    for (const double f : furthest) sum += f;
  }
  return sum / static_cast<double>(x_.rows() * d);
}

MmdTerms MmdReference::terms() const {
  const std::int64_t s = options_.perturbations, d = model_.outputs(), b = x_.rows();
  std::vector<Matrix> outputs;
  for (std::int64_t k = 0; k < s; ++k) outputs.push_back(run(x_, k));
  MmdTerms terms;
  const bool unbiased = options_.statistic == MmdStatistic::u;
  for (std::int64_t n = 0; n < b; ++n) {
    Matrix p(s, d);
    for (std::int64_t k = 0; k < s; ++k) p.row(k) = outputs[static_cast<std::size_t>(k)].row(n);
    const Matrix& u = uniform_[static_cast<std::size_t>(n)];
    const double gamma = bandwidth_[static_cast<std::size_t>(n)];
    terms.uniformity += (mean_kernel(p, p, gamma, unbiased) - 2 * mean_kernel(p, u, gamma, false) +
                         mean_kernel(u, u, gamma, unbiased)) /
                        static_cast<double>(b);
  }
  const double threshold = 1 / std::sqrt(static_cast<double>(d));
  const bool share = options_.hinge == SoftmaxHinge::share || (options_.hinge == SoftmaxHinge::automatic && d > 2);
  for (const Matrix& p : outputs) {
    double largest = 0;
    for (std::int64_t c = 0; c < d; ++c) {
      std::vector<double> distances;
      for (std::int64_t n = 0; n < b; ++n) distances.push_back((p.row(n) - RowVectorXd::Unit(d, c)).norm());
      std::sort(distances.begin(), distances.end());
      const auto count = static_cast<std::size_t>(share ? std::max<std::int64_t>(1, b / d) : b);
      double mean = 0;
      for (std::size_t i = 0; i < count; ++i) mean += distances[i] / static_cast<double>(count);
      largest = std::max(largest, mean);
    }
    terms.softmax += std::max(largest - threshold, 0.0) / static_cast<double>(s);
  }
  if (options_.xi > 0) terms.detachment = detachment();
  terms.total =
      options_.uniformity * terms.uniformity + options_.lambda * terms.softmax + options_.xi * terms.detachment;
  return terms;
}

void MmdReference::for_each_parameter(const std::function<void(std::size_t, bool, std::size_t, double&)>& visit) {
  for (std::size_t l = 0; l < parameters_.size(); ++l) {
    for (std::size_t i = 0; i < parameters_[l].weight.size(); ++i) visit(l, false, i, parameters_[l].weight[i]);
    for (std::size_t i = 0; i < parameters_[l].bias.size(); ++i) visit(l, true, i, parameters_[l].bias[i]);
  }
}

}  // namespace kindling::test
