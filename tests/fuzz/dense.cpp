// The dense layer's kernels.
#include "kernels/dense.h"

#include "fuzz/fuzz.h"

namespace kindling::fuzz {
namespace {

// The wrappers take one form of a kernel for a few samples and one for more.
enum class Batch { any, few };

void forward(Case& c, std::string_view form, Batch batch) {
  const bool few = batch == Batch::few;
  const std::int64_t n = few ? c.extent(16) : c.extent(50), m = c.extent(70);
  const std::int64_t k = few ? 40 * std::max<std::int64_t>(n, 1) + c.extent(200) : c.long_extent(90, 900, n * m);
  const Activation activation = draw_activation(c, form);
  auto x = c.normals(n, k), w = c.normals(m, k, std::pow(std::max(1.0, static_cast<double>(k)), -0.5));
  auto bias = c.normals(m), y = c.output<float>(n, m);
  c.spoil(x, w, bias);
  auto used_bias = bias;
  if (c.mutation == Mutation::stale_bias && m > 0) used_bias[m - 1] = 0.25F;
  const std::int64_t depth = c.mutation == Mutation::dropped_term && k > 0 ? k - 1 : k;
  const auto cut = [&](Array<float>& a) {
    const ConstTensorView v = a.in();
    return ConstTensorView(v.data(), v.rows(), depth, v.row_stride());
  };
  c.run(
      [&] { kernels::dense_forward(c.execution, cut(x), cut(w), used_bias.cflat(), mutated(c, activation), y.view()); },
      y);
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j < m; ++j) {
      Sum z;
      z.add(bias[j]);
      for (std::int64_t p = 0; p < k; ++p) z.add(static_cast<double>(x(i, p)) * w(j, p));
      c.expect(y(i, j), activated(activation, z, k), "y", i, j);
    }
  }
}

std::int64_t batch_size(Case& c, Batch batch) { return batch == Batch::few ? c.below(5) : c.extent(50); }

void input_gradient(Case& c, std::string_view form, Batch batch) {
  const std::int64_t n = batch_size(c, batch), k = c.extent(70), m = c.long_extent(60, 600, n * k);
  const Activation below = draw_activation(c, form);
  auto dz = c.normals(n, m), w = c.normals(m, k), x = draw_outputs(c, below, n, k), dx = c.output<float>(n, k);
  c.spoil(dz, w, x);
  c.run([&] { kernels::dense_input_gradient(c.execution, dz.in(), w.in(), x.in(), mutated(c, below), dx.view()); }, dx);
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j < k; ++j) {
      Sum g;
      for (std::int64_t p = 0; p < m; ++p) g.add(static_cast<double>(dz(i, p)) * w(p, j));
      c.expect(dx(i, j), through_derivative(below, x(i, j), g, m), "dx", i, j);
    }
  }
}

// The gradient of weight (j, p), of bias j where p < 0, and the operands it comes from.
struct Gradients {
  std::int64_t n, k, m;
  Array<float> x, dz;

  Gradients(Case& c, Batch batch) : n(0), k(c.extent(60)), m(c.extent(50)), x(c, 0, 0), dz(c, 0, 0) {
    n = batch == Batch::few ? c.below(5) : c.long_extent(60, 700, k * m);
    x = c.normals(n, k);
    dz = c.normals(n, m);
    c.spoil(x, dz);
  }
  Sum of(std::int64_t j, std::int64_t p) {
    Sum g;
    for (std::int64_t i = 0; i < n; ++i) g.add(static_cast<double>(dz(i, j)) * (p < 0 ? 1.0 : x(i, p)));
    return g;
  }
};

void weight_gradient(Case& c, Batch batch) {
  Gradients g(c, batch);
  auto dw = c.output<float>(g.m, g.k), db = c.output<float>(g.m);
  c.run([&] { kernels::dense_weight_gradient(c.execution, g.x.in(), g.dz.in(), dw.view(), db.flat()); }, dw, db);
  for (std::int64_t j = 0; j < g.m; ++j) {
    for (std::int64_t p = -1; p < g.k; ++p) {
      const Sum s = g.of(j, p);
      c.expect(p < 0 ? db[j] : dw(j, p), s.value, sum_bound(g.n, s), "dw", j, p);
    }
  }
}

struct Parameter {
  Array<float> weight, bias, weight_before, bias_before;
  Parameter(Case& c, const Gradients& g, bool positive)
      : weight(c.normals(g.m, g.k)), bias(c.normals(g.m)), weight_before(weight), bias_before(bias) {
    if (!positive) return;
    for (std::int64_t j = 0; j < g.m; ++j) {
      bias[j] = bias_before[j] = std::abs(bias[j]) + 0.01F;
      for (std::int64_t p = 0; p < g.k; ++p) weight(j, p) = weight_before(j, p) = std::abs(weight(j, p)) + 0.01F;
    }
  }
  kernels::DenseParameters view() { return {weight.view(), bias.flat()}; }
  double now(std::int64_t j, std::int64_t p) { return p < 0 ? bias[j] : weight(j, p); }
  double before(std::int64_t j, std::int64_t p) { return p < 0 ? bias_before[j] : weight_before(j, p); }
};

// Runs a fused step and hands every parameter's gradient, with its decay and its error bound, to `check`.
template <class Check>
void each_gradient(Gradients& g, Parameter& parameters, float decay, const Check& check) {
  for (std::int64_t j = 0; j < g.m; ++j) {
    for (std::int64_t p = -1; p < g.k; ++p) {
      const Sum s = g.of(j, p);
      const double extra = p < 0 ? 0.0 : static_cast<double>(decay) * parameters.before(j, p);
      check(j, p, s.value + extra, sum_bound(g.n, s) + 2 * eps * (std::abs(extra) + std::abs(s.value)));
    }
  }
}

void weight_sgd(Case& c, Batch batch) {
  Gradients g(c, batch);
  Parameter parameters(c, g, false);
  const kernels::SgdStep step{.learning_rate = c.scalar(0.01, 0.5), .weight_decay = c.scalar(0, 0.2)};
  c.run([&] { kernels::dense_weight_sgd(c.execution, g.x.in(), g.dz.in(), parameters.view(), step); },
        parameters.weight, parameters.bias);
  const double rate = step.learning_rate;
  each_gradient(g, parameters, step.weight_decay, [&](std::int64_t j, std::int64_t p, double d, double error) {
    const double before = parameters.before(j, p), expected = g.n == 0 ? before : before - rate * d;
    const double bound = rate * error + 2 * eps * (std::abs(before) + rate * std::abs(d));
    c.expect(parameters.now(j, p), expected, bound, "parameter", j, p);
  });
}

void weight_momentum(Case& c, Batch batch) {
  Gradients g(c, batch);
  Parameter parameters(c, g, false), velocity(c, g, false);
  const kernels::MomentumStep step{
      .learning_rate = c.scalar(0.01, 0.5), .momentum = c.scalar(0, 1), .weight_decay = c.scalar(0, 0.2)};
  c.run(
      [&] {
        kernels::dense_weight_momentum(c.execution, g.x.in(), g.dz.in(), parameters.view(), velocity.view(), step);
      },
      parameters.weight, parameters.bias, velocity.weight);
  const double rate = step.learning_rate, momentum = step.momentum;
  each_gradient(g, parameters, step.weight_decay, [&](std::int64_t j, std::int64_t p, double d, double error) {
    const double v0 = velocity.before(j, p), p0 = parameters.before(j, p);
    const double v = g.n == 0 ? v0 : momentum * v0 + d;
    const double v_bound = error + 3 * eps * (std::abs(momentum * v0) + std::abs(d));
    c.expect(velocity.now(j, p), v, v_bound, "velocity", j, p);
    c.expect(parameters.now(j, p), g.n == 0 ? p0 : p0 - rate * v,
             rate * v_bound + 2 * eps * (std::abs(p0) + rate * std::abs(v)), "parameter", j, p);
  });
}

void weight_adam(Case& c, Batch batch) {
  Gradients g(c, batch);
  Parameter parameters(c, g, false), mean(c, g, false), square(c, g, true);
  const kernels::AdamStep step{.learning_rate = c.scalar(0.001, 0.1),
                               .beta1 = c.scalar(0.5, 0.99),
                               .beta2 = c.scalar(0.6, 0.999),
                               .epsilon = c.scalar(1e-8, 1e-3),
                               .weight_decay = c.scalar(0, 0.2),
                               .step = 1 + c.below(50)};
  c.run(
      [&] {
        kernels::dense_weight_adam(c.execution, g.x.in(), g.dz.in(), parameters.view(), mean.view(), square.view(),
                                   step);
      },
      parameters.weight, mean.weight, square.weight);
  const double b1 = step.beta1, b2 = step.beta2, t = static_cast<double>(step.step);
  each_gradient(g, parameters, step.weight_decay, [&](std::int64_t j, std::int64_t p, double d, double error) {
    const double m0 = mean.before(j, p), s0 = square.before(j, p), p0 = parameters.before(j, p);
    if (g.n == 0) return c.expect(parameters.now(j, p), p0, 0, "parameter", j, p);
    const double m = b1 * m0 + (1 - b1) * d, s = b2 * s0 + (1 - b2) * d * d;
    const double m_bound = (1 - b1) * error + 4 * eps * (std::abs(b1 * m0) + (1 - b1) * std::abs(d));
    const double s_bound = (1 - b2) * (2 * std::abs(d) + error) * error + 6 * eps * s;
    c.expect(mean.now(j, p), m, m_bound, "mean", j, p);
    c.expect(square.now(j, p), s, s_bound, "square", j, p);
    const double c1 = 1 - std::pow(b1, t), c2 = 1 - std::pow(b2, t);
    const auto denominator = [&](double v) {
      return std::sqrt(std::max(v, 0.0) / c2) + static_cast<double>(step.epsilon);
    };
    const double rate = step.learning_rate, move = rate / c1 * m / denominator(s);
    const double furthest = rate / c1 * (std::abs(m) + m_bound) / denominator(s - s_bound);
    c.expect(parameters.now(j, p), p0 - move,
             (furthest - std::abs(move)) + 12 * eps * std::abs(furthest) + 2 * eps * std::abs(p0), "parameter", j, p);
  });
}

void moments(Case& c, std::string_view form) {
  const std::int64_t m = c.extent(40), k = c.extent(30), classes = 1 + c.below(6);
  const std::int64_t n = c.long_extent(60, 2100, std::max<std::int64_t>(1, m * k));
  const Activation activation = draw_activation(c, form);
  auto x = c.normals(n, k), w = c.normals(m, k, std::pow(std::max(1.0, static_cast<double>(k)), -0.5));
  auto bias = c.normals(m), shift = c.normals(m);
  c.spoil(x, w, bias, shift);
  auto used_bias = bias;
  auto labels = c.indices(n, classes);
  if (c.mutation == Mutation::stale_bias && m > 0) used_bias[m - 1] = 0.25F;
  Array<double> sum(c, classes * m), squares(c, classes * m);
  sum.fill([] { return 1.0; });
  squares.fill([] { return 2.0; });
  c.run(
      [&] {
        kernels::dense_moments(c.execution, x.in(), w.in(), used_bias.cflat(), mutated(c, activation), labels.cflat(),
                               shift.cflat(), classes, sum.flat(), squares.flat());
      },
      sum, squares);
  for (std::int64_t j = 0; j < m; ++j) {
    std::vector<double> s(classes, 1), q(classes, 2), s_bound(classes, 1e-12), q_bound(classes, 1e-12);
    for (std::int64_t i = 0; i < n; ++i) {
      Sum z;
      z.add(bias[j]);
      for (std::int64_t p = 0; p < k; ++p) z.add(static_cast<double>(x(i, p)) * w(j, p));
      const Bounded y = activated(activation, z, k);
      const double d = y.value - shift[j], error = y.bound + eps * (std::abs(y.value) + std::abs(shift[j]));
      const int l = labels[i];
      s[l] += d, q[l] += d * d;
      // Up to 960 terms of a group in float32.
      const double terms = static_cast<double>(std::min<std::int64_t>(n, kernels::moment_group_rows)) + 2;
      s_bound[l] += error + terms * eps * (std::abs(d) + error);
      q_bound[l] +=
          (2 * std::abs(d) + error) * error + (terms + 1) * eps * (std::abs(d) + error) * (std::abs(d) + error);
    }
    for (std::int64_t l = 0; l < classes; ++l) {
      c.expect(sum[l * m + j], s[l], s_bound[l], "sum", l, j);
      c.expect(squares[l * m + j], q[l], q_bound[l], "sum_squares", l, j);
    }
  }
}

// Both forms of a kernel under their names.
template <class Function>
bool both(const std::string& kernel, const std::string& form, const Function& function) {
  const std::string suffix = form.empty() ? "" : "_" + form;
  const bool any = fuzz(kernel + suffix, [=](Case& c) { function(c, form, Batch::any); });
  return fuzz(kernel + "_few" + suffix, [=](Case& c) { function(c, form, Batch::few); }) && any;
}
const auto without_form = [](void (*function)(Case&, Batch)) {
  return [=](Case& c, const std::string&, Batch batch) { function(c, batch); };
};

[[maybe_unused]] const bool all[] = {both("dense_forward", "", forward),
                                     both("dense_forward", "tanh", forward),
                                     both("dense_forward", "sigmoid", forward),
                                     both("dense_input_gradient", "", input_gradient),
                                     both("dense_input_gradient", "tanh", input_gradient),
                                     both("dense_input_gradient", "sigmoid", input_gradient),
                                     both("dense_weight_gradient", "", without_form(weight_gradient)),
                                     both("dense_weight_sgd", "", without_form(weight_sgd)),
                                     both("dense_weight_momentum", "", without_form(weight_momentum)),
                                     both("dense_weight_adam", "", without_form(weight_adam)),
                                     fuzz("dense_moments", [](Case& c) { moments(c, ""); }),
                                     fuzz("dense_moments_tanh", [](Case& c) { moments(c, "tanh"); }),
                                     fuzz("dense_moments_sigmoid", [](Case& c) { moments(c, "sigmoid"); })};

}  // namespace
}  // namespace kindling::fuzz
