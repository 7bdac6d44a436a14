// Passes over a matrix: squared_error, activation_gradient (tanh), row_norms, row_dots and standardize beside Eigen's
// arrays, dropout beside the standard library. The limit is reading each input and writing each output once.
#include <algorithm>
#include <cmath>

#include "kernels/dropout.h"
#include "kernels/jacobian.h"
#include "kernels/loss.h"
#include "kernels/operations.h"
#include "kernels/scatter.h"
#include "peers/plain.h"

namespace kindling::bench {
namespace {

constexpr double unit = epsilon32 / 2;  // most that one rounding does
// Not 1/2, which would not tell the rate from its complement.
constexpr double dropout_rate = 0.2;
constexpr kindling::Stream stream{.seed = 2024, .purpose = Purpose::test, .unit = 7};

struct MatrixProblem {
  MatrixProblem(std::int64_t rows, std::int64_t cols)
      : x({rows, cols}), y({rows, cols}), out({rows, cols}), rows_out({rows}), mean({cols}), inverse_std({cols}) {
    fill_random(x.flat(), 81);
    fill_random(y.flat(), 82);
    fill_random(mean.flat(), 83);
    fill_random(inverse_std.flat(), 84, 3.0F);
  }
  [[nodiscard]] float scale() const { return 1.0F / static_cast<float>(x.view().rows()); }

  void verify_squared_error(const std::function<void()>& run);
  void verify_tanh_gradient(const std::function<void()>& run);
  void verify_norms(const std::function<void()>& run) { verify_rows(run, x, true); }
  void verify_dots(const std::function<void()>& run) { verify_rows(run, y, false); }
  void verify_dropout(const std::function<void()>& run);
  void verify_standardize(const std::function<void()>& run);

  Tensor x, y, out, rows_out, mean, inverse_std;
  bool mask_is_philox = false;  // set by the kernel: its mask is known bit by bit, a peer's by its law

 private:
  void verify_rows(const std::function<void()>& run, ConstTensorView other, bool root);
};

void MatrixProblem::verify_squared_error(const std::function<void()>& run) {
  poison(out.flat());
  poison(rows_out.flat());
  run();
  const ConstTensorView a = x.view(), b = y.view();
  const auto features = static_cast<double>(a.cols());
  for (std::int64_t n = 0; n < a.rows(); ++n) {
    double sum = 0;
    for (std::int64_t d = 0; d < a.cols(); ++d) {
      const double off = double{a(n, d)} - double{b(n, d)}, wanted = 2 / features * scale() * off;
      sum += off * off;
      // The factor, the difference and their product.
      expect_near("gradient", n * a.cols() + d, out.view()(n, d), wanted, 4 * unit * std::abs(wanted));
    }
    expect_near("loss", n, rows_out.data()[n], sum / features, rounding(features) * sum / features);
  }
}

void MatrixProblem::verify_tanh_gradient(const std::function<void()>& run) {
  poison(out.flat());
  run();
  for (std::int64_t i = 0; i < x.size(); ++i) {
    const double value = x.data()[i], derivative = 1 - value * value, dy = y.data()[i];
    // The square, at most 1, its difference from 1 and the product are each off by half an ulp.
    expect_near("dz", i, out.data()[i], derivative * dy, unit * std::abs(dy) * (1 + derivative));
  }
}

void MatrixProblem::verify_rows(const std::function<void()>& run, ConstTensorView other, bool root) {
  poison(rows_out.flat());
  run();
  const ConstTensorView a = x.view();
  const double relative = rounding(static_cast<double>(a.cols()));
  for (std::int64_t r = 0; r < a.rows(); ++r) {
    double sum = 0, magnitude = 0;
    for (std::int64_t k = 0; k < a.cols(); ++k) {
      const double term = double{a(r, k)} * double{other(r, k)};
      sum += term, magnitude += std::abs(term);
    }
    // A root halves what its argument is off by.
    const double wanted = root ? std::sqrt(sum) : sum, tolerance = root ? wanted / 2 : magnitude;
    expect_near("row", r, rows_out.data()[r], wanted, relative * tolerance);
  }
}

void MatrixProblem::verify_dropout(const std::function<void()>& run) {
  poison(out.flat());
  mask_is_philox = false;
  run();
  const std::int64_t cols = x.view().cols(), row_blocks = (cols + 3) / 4;
  double dropped = 0;
  for (std::int64_t i = 0; i < x.size(); ++i) {
    const std::int64_t n = i / cols, k = i % cols;
    const std::array<std::uint32_t, 4> words = philox_block(stream, static_cast<std::uint32_t>(n * row_blocks + k / 4));
    const bool zero = mask_is_philox ? words[static_cast<std::size_t>(k % 4)] < std::round(dropout_rate * 0x1p32)
                                     : out.data()[i] == 0;
    dropped += zero ? 1 : 0;
    const double wanted = zero ? 0 : x.data()[i] / (1 - dropout_rate);
    expect_near("y", i, out.data()[i], wanted, 2 * unit * std::abs(wanted));
  }
  const auto n = static_cast<double>(x.size());
  expect_near("share of elements dropped", 0, dropped / n, dropout_rate,
              6 * std::sqrt(dropout_rate * (1 - dropout_rate) / n));
}

void MatrixProblem::verify_standardize(const std::function<void()>& run) {
  poison(out.flat());
  run();
  for (std::int64_t i = 0; i < x.size(); ++i) {
    const std::int64_t k = i % x.view().cols();
    const double wanted = (double{x.data()[i]} - double{mean.data()[k]}) * double{inverse_std.data()[k]};
    expect_near("y", i, out.data()[i], wanted, 2 * unit * std::abs(wanted));
  }
}

struct Row {
  Operation<MatrixProblem> operation;
  std::int64_t rows, cols;
  double matrices, columns;  ///< how many of each are read or written
};

const Row all_rows[] = {
    {{.name = "squared_error",
      .run = [](const kernels::Execution& e,
                MatrixProblem& p) { kernels::squared_error(e, p.x, p.y, p.scale(), p.rows_out.flat(), p.out); },
      .verify = &MatrixProblem::verify_squared_error,
      .peers = {"eigen"},
      .bind =
          [](const Peer& peer, MatrixProblem& p) {
            return peer.squared_error({p.x, p.y, p.scale(), p.rows_out.flat(), p.out});
          }},
     1000,
     100,
     3,
     1},
    {{.name = "activation_gradient",
      .run = [](const kernels::Execution& e,
                MatrixProblem& p) { kernels::activation_gradient(e, p.x, {ActivationKind::tanh}, p.y, p.out); },
      .verify = &MatrixProblem::verify_tanh_gradient,
      .peers = {"eigen"},
      .bind =
          [](const Peer& peer, MatrixProblem& p) {
            return peer.tanh_gradient({p.x, p.y, p.out});
          }},
     1000,
     512,
     3,
     0},
    {{.name = "row_norms",
      .run = [](const kernels::Execution& e, MatrixProblem& p) { kernels::row_norms(e, p.x, p.rows_out.flat()); },
      .verify = &MatrixProblem::verify_norms,
      .peers = {"eigen"},
      .bind =
          [](const Peer& peer, MatrixProblem& p) {
            return peer.row_norms({p.x, p.x, p.rows_out.flat()});
          }},
     1024,
     2048,
     1,
     1},
    {{.name = "row_dots",
      .run = [](const kernels::Execution& e, MatrixProblem& p) { kernels::row_dots(e, p.x, p.y, p.rows_out.flat()); },
      .verify = &MatrixProblem::verify_dots,
      .peers = {"eigen"},
      .bind =
          [](const Peer& peer, MatrixProblem& p) {
            return peer.row_dots({p.x, p.y, p.rows_out.flat()});
          }},
     1024,
     2048,
     2,
     1},
    {{.name = "standardize",
      .run = [](const kernels::Execution& e,
                MatrixProblem& p) { kernels::standardize(e, p.x, p.mean.flat(), p.inverse_std.flat(), p.out); },
      .verify = &MatrixProblem::verify_standardize,
      .peers = {"eigen"},
      .bind =
          [](const Peer& peer, MatrixProblem& p) {
            return peer.standardize({p.x, p.mean.flat(), p.inverse_std.flat(), p.out});
          }},
     1000,
     784,
     2,
     0},
    {{.name = "dropout",
      .run =
          [](const kernels::Execution& e, MatrixProblem& p) {
            kernels::dropout(e, p.x, stream, dropout_rate, p.out);
            p.mask_is_philox = true;
          },
      .verify = &MatrixProblem::verify_dropout,
      .loop = {"std_mt19937", [](MatrixProblem& p) { plain_dropout(p.x, dropout_rate, p.out); }}},
     1000,
     512,
     2,
     0}};

void add_rows(Registry& registry, const Settings& settings) {
  for (const Row& row : all_rows) {
    report_missing_peers(registry, row.operation.name, row.operation.peers);
    const Shared<MatrixProblem> shared(
        [rows = row.rows, cols = row.cols] { return std::make_shared<MatrixProblem>(rows, cols); });
    const double bytes =
        4.0 * static_cast<double>(row.rows) * (row.matrices * static_cast<double>(row.cols) + row.columns);
    add_operation(registry, settings, row.operation, shared,
                  {.shape = shape_name({row.rows, row.cols}),
                   .work = {.bytes = bytes},
                   .limit = Limit::memory,
                   .goal = {.ratio = 1}});
  }
}

const Registration registration{add_rows};

}  // namespace
}  // namespace kindling::bench
