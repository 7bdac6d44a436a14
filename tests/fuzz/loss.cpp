// Losses and the derivative of an activation.
#include "kernels/loss.h"

#include "fuzz/fuzz.h"

namespace kindling::fuzz {
namespace {

void softmax(Case& c, bool with_gradient) {
  const std::int64_t n = c.extent(300), k = c.extent(40, 1);
  auto z = c.normals(n, k, c.uniform(0.1, 20), c.uniform(-5, 5));
  c.spoil(z);
  auto labels = c.indices(n, k), used_labels = labels;
  const float scale = c.scalar(0.01, 2);
  auto loss = c.output<float>(n), gradient = c.output<float>(n, with_gradient ? k : 0);
  auto prediction = c.output<std::int32_t>(n);
  // The mask of a softmax gradient is its one-hot label.
  if (c.mutation == Mutation::wrong_mask && n > 0)
    used_labels[n - 1] = (labels[n - 1] + 1) % static_cast<std::int32_t>(k);
  c.run(
      [&] {
        if (with_gradient) {
          kernels::softmax_cross_entropy(c.execution, z.in(), used_labels.cflat(), scale, loss.flat(), gradient.view(),
                                         prediction.flat());
        } else {
          kernels::softmax_cross_entropy_loss(c.execution, z.in(), used_labels.cflat(), loss.flat(), prediction.flat());
        }
      },
      loss, gradient, prediction);
  for (std::int64_t i = 0; i < n; ++i) {
    // A NaN is never predicted.
    std::int64_t best = 0;
    for (std::int64_t j = 1; j < k; ++j) best = z(i, j) > z(i, best) || std::isnan(z(i, best)) ? j : best;
    while (best > 0 && std::isnan(z(i, best))) --best;
    const double top = z(i, best);
    double total = 0, moved = 0;  // moved: what the rounding of z - top does to the sum
    for (std::int64_t j = 0; j < k; ++j) {
      const double p = std::exp(z(i, j) - top);
      total += p, moved += p == 0 ? 0 : p * (top - z(i, j));
    }
    const double below = top - z(i, labels[i]), expected = std::log(total) + below;
    const double sum_error = eps * (static_cast<double>(k) + 6 + moved / total);
    c.expect(loss[i], expected, sum_error + eps * (3 * std::log(total) + below + expected) + 1e-37, "loss", i);
    c.expect(prediction[i], static_cast<double>(best), 0, "prediction", i);
    if (!with_gradient) continue;
    for (std::int64_t j = 0; j < k; ++j) {
      const double p = std::exp(z(i, j) - top) / total, hot = labels[i] == j ? 1 : 0;
      const double moved_too = p == 0 ? 0 : p * (sum_error + eps * (6 + top - z(i, j)));
      const double bound = moved_too + 2 * eps * std::abs(p - hot) + 1e-37;
      c.expect(gradient(i, j), (p - hot) * scale, bound * scale, "gradient", i, j);
    }
  }
}

void softmax_hessian(Case& c) {
  const std::int64_t n = c.extent(200), k = c.extent(40, 1);
  auto z = c.normals(n, k, c.uniform(0.1, 20), c.uniform(-5, 5)), t = c.normals(n, k, 2.0), used = t;
  t.bounded = true;
  c.spoil(z, t);
  used = t;
  if (c.mutation == Mutation::dropped_term && n > 0) used(n - 1, k - 1) = 0;
  const float scale = c.scalar(0.01, 2);
  auto product = c.output<float>(n, k);
  c.run([&] { kernels::softmax_hessian_product(c.execution, z.in(), used.in(), scale, product.view()); }, product);
  for (std::int64_t i = 0; i < n; ++i) {
    double top = -std::numeric_limits<double>::infinity();
    for (std::int64_t j = 0; j < k; ++j) top = z(i, j) > top ? z(i, j) : top;
    double total = 0, mean = 0, size = 0, moved = 0, moved_size = 0;  // moved: by the rounding of z - top
    for (std::int64_t j = 0; j < k; ++j) {
      const double p = std::exp(z(i, j) - top), by = p == 0 ? 0 : top - z(i, j), tangent = t(i, j);
      total += p, mean += p * tangent, size += p * std::abs(tangent);
      moved += p * by, moved_size += p * std::abs(tangent) * by;
    }
    mean /= total;
    const auto terms = static_cast<double>(k);
    const double sum_error = eps * (terms + 6 + moved / total);
    const double mean_error = eps * ((terms + 6) * size + moved_size) / total + (sum_error + 2 * eps) * std::abs(mean);
    for (std::int64_t j = 0; j < k; ++j) {
      const double p = std::exp(z(i, j) - top) / total, apart = t(i, j) - mean, by = p == 0 ? 0 : top - z(i, j);
      const double bound =
          p * (std::abs(apart) * (sum_error + eps * (10 + by)) + mean_error) + 1e-37 * (1 + std::abs(apart));
      c.expect(product(i, j), p * apart * scale, bound * scale, "product", i, j);
    }
  }
}

void squared_error(Case& c) {
  const std::int64_t n = c.extent(200), k = c.long_extent(60, 900, n, 1);
  auto y = c.normals(n, k, 2.0), target = c.normals(n, k), gradient = c.output<float>(n, k);
  auto loss = c.output<float>(n);
  c.spoil(y, target);
  const float scale = c.scalar(0.01, 2);
  const std::int64_t width = c.mutation == Mutation::dropped_term && k > 1 ? k - 1 : k;
  const auto cut = [&](auto view) { return decltype(view)(view.data(), view.rows(), width, view.row_stride()); };
  c.run(
      [&] {
        kernels::squared_error(c.execution, cut(y.in()), cut(target.in()), scale, loss.flat(), cut(gradient.view()));
      },
      loss, gradient);
  for (std::int64_t i = 0; i < n; ++i) {
    double sum = 0;
    for (std::int64_t j = 0; j < k; ++j) {
      const double d = static_cast<double>(y(i, j)) - target(i, j);
      sum += d * d;
      const double expected = 2.0 / static_cast<double>(k) * scale * d;
      c.expect(gradient(i, j), expected, 5 * eps * std::abs(expected), "gradient", i, j);
    }
    const double mean = sum / static_cast<double>(k);
    c.expect(loss[i], mean, (static_cast<double>(k) + 5) * eps * mean, "loss", i);
  }
}

void activation_gradient(Case& c, std::string_view form) {
  const std::int64_t n = c.extent(100), m = c.extent(200);
  const Activation activation = draw_activation(c, form);
  auto y = draw_outputs(c, activation, n, m);
  auto dy = c.normals(n, m), dz = c.output<float>(n, m);
  c.spoil(y, dy);
  const bool in_place = c.chance(0.3);
  if (in_place) dz = dy;
  const kernels::Execution e = c.execution;
  c.run(
      [&] { kernels::activation_gradient(e, y.in(), mutated(c, activation), in_place ? dz.in() : dy.in(), dz.view()); },
      dz);
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j < m; ++j) {
      const double expected = derivative(activation, y(i, j)) * dy(i, j);
      c.expect(dz(i, j), expected, 3 * eps * std::abs(dy(i, j)) + 2 * eps * std::abs(expected), "dz", i, j);
    }
  }
}

[[maybe_unused]] const bool all[] = {
    fuzz("softmax_cross_entropy", [](Case& c) { softmax(c, true); }),
    fuzz("softmax_cross_entropy_loss", [](Case& c) { softmax(c, false); }),
    fuzz("softmax_hessian_product", softmax_hessian),
    fuzz("squared_error", squared_error),
    fuzz("activation_gradient", [](Case& c) { activation_gradient(c, ""); }),
    fuzz("activation_gradient_tanh", [](Case& c) { activation_gradient(c, "tanh"); }),
    fuzz("activation_gradient_sigmoid", [](Case& c) { activation_gradient(c, "sigmoid"); })};

}  // namespace
}  // namespace kindling::fuzz
