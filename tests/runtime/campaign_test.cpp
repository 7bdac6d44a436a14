// The choice of neurons against a plain modified Gram-Schmidt in float64.
#include "methods/campaign.h"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "support/catch.h"
#include "support/kernel_test.h"

namespace kindling::test {
namespace {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

struct Reference {
  std::vector<std::int64_t> chosen;
  std::vector<double> product, residual;
  std::vector<std::int32_t> round;
};

// Plain modified Gram-Schmidt: every step rewrites all residuals. With `follow`, it takes those choices instead of its
// own and fails the test where one falls short of the best by more than 1e-4: after a choice between two that are as
// good as equal there are two right continuations.
Reference plain_campaign(const std::vector<float>& w, std::int64_t total, std::int64_t width,
                         const std::vector<float>& scores, std::int64_t count, const CampaignResult* follow = nullptr,
                         double tolerance = 1e-4) {
  const Matrix all =
      Eigen::Map<const Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>(w.data(), total, width)
          .cast<double>();
  const Eigen::VectorXd norm = all.rowwise().norm();
  Matrix residual = all;
  std::vector<bool> used(static_cast<std::size_t>(total), false);
  Reference r;
  std::int32_t round = 0;
  while (static_cast<std::int64_t>(r.chosen.size()) < count) {
    std::int64_t best = -1, zero = -1;
    double product = -1;
    bool nonzero_left = false;
    for (std::int64_t i = 0; i < total; ++i) {
      if (used[static_cast<std::size_t>(i)]) continue;
      if (norm[i] == 0) {
        if (zero < 0) zero = i;
        continue;
      }
      nonzero_left = true;
      const double ratio = residual.row(i).norm() / norm[i];
      if (ratio >= 1e-4 && scores[static_cast<std::size_t>(i)] * ratio > product)
        best = i, product = scores[static_cast<std::size_t>(i)] * ratio;
    }
    if (best < 0 && nonzero_left) {
      ++round;
      residual = all;
      continue;
    }
    if (best < 0) best = zero, product = 0;
    if (follow != nullptr) {
      const std::size_t t = r.chosen.size();
      const std::int64_t theirs = follow->chosen[t];
      CAPTURE(t, theirs, best);
      REQUIRE_FALSE(used[static_cast<std::size_t>(theirs)]);
      REQUIRE(follow->round[t] == round);
      const double ratio = norm[theirs] == 0 ? 0 : residual.row(theirs).norm() / norm[theirs];
      const double value = scores[static_cast<std::size_t>(theirs)] * ratio;
      REQUIRE(value >= product * (1 - tolerance));
      REQUIRE(std::abs(follow->residual[t] - ratio) <= tolerance * ratio);
      REQUIRE(std::abs(follow->product[t] - value) <= tolerance * value);
      best = theirs, product = value;
    }
    const double ratio = norm[best] == 0 ? 0 : residual.row(best).norm() / norm[best];
    r.chosen.push_back(best);
    r.product.push_back(product);
    r.residual.push_back(ratio);
    r.round.push_back(round);
    used[static_cast<std::size_t>(best)] = true;
    if (norm[best] == 0) continue;
    const Eigen::VectorXd q = residual.row(best).transpose() / residual.row(best).norm();
    const Eigen::VectorXd c = residual * q;
    residual.noalias() -= c * q.transpose();
  }
  return r;
}

CampaignResult select(const std::vector<float>& w, std::int64_t total, std::int64_t width,
                      const std::vector<float>& scores, std::int64_t count, int threads = 2) {
  return select_campaign(test_execution(threads), ConstTensorView(w.data(), {total, width}), scores, {.count = count});
}

// Scores of the kinds that occur: 0 uniform, 1 many close to equal, 2 all equal, 3 a few large ones and many zeros.
std::vector<float> scores_of_kind(int kind, std::int64_t total) {
  PhiloxReader reader({.seed = 5, .unit = static_cast<std::uint32_t>(kind)});
  std::vector<float> s(static_cast<std::size_t>(total), 1.0F);
  for (float& v : s) {
    if (kind == 0) v = static_cast<float>(reader.uniform());
    if (kind == 1) v = std::max(0.0F, static_cast<float>(1.0 + 0.02 * reader.normal()));
    if (kind == 3) v = reader.uniform() < 0.7 ? 0.0F : static_cast<float>(reader.uniform());
  }
  return s;
}

std::string message_of(const std::vector<float>& w, std::int64_t total, std::int64_t width,
                       const std::vector<float>& scores, std::int64_t count, double tolerance, ErrorCode code) {
  try {
    select_campaign(test_execution(), ConstTensorView(w.data(), {total, width}), scores,
                    {.count = count, .exhausted_tolerance = tolerance});
  } catch (const Error& e) {
    CHECK(e.code() == code);
    return e.what();
  }
  FAIL("no error");
  return "";
}

}  // namespace

TEST_CASE("the campaign makes the choices of a plain Gram-Schmidt", "[campaign]") {
  struct Case {
    std::int64_t total, width, count;
  };
  for (const Case& c :
       {Case{1, 1, 1}, {5, 3, 2}, {37, 11, 7}, {160, 32, 32}, {300, 129, 100}, {500, 64, 64}, {640, 200, 128}}) {
    for (int kind = 0; kind < 4; ++kind) {
      CAPTURE(c.total, c.width, c.count, kind);
      const std::vector<float> w = test_normals(c.total * c.width, static_cast<std::uint32_t>(c.total));
      const std::vector<float> s = scores_of_kind(kind, c.total);
      const CampaignResult r = select(w, c.total, c.width, s, c.count);
      plain_campaign(w, c.total, c.width, s, c.count, &r);
      CHECK(r.rounds == 1);
      // Where nothing is near a tie the choices are equal outright.
      if (kind == 0) CHECK(r.chosen == plain_campaign(w, c.total, c.width, s, c.count).chosen);
    }
  }
}

TEST_CASE("a campaign of more candidates than dimensions goes on in rounds", "[campaign]") {
  for (const std::int64_t total : {23, 150}) {
    const std::int64_t width = 7;
    const std::vector<float> w = test_normals(total * width, 1);
    for (int kind = 0; kind < 4; ++kind) {
      CAPTURE(total, kind);
      const std::vector<float> s = scores_of_kind(kind, total);
      const CampaignResult r = select(w, total, width, s, total);  // P = count
      plain_campaign(w, total, width, s, total, &r, 1e-3);
      CHECK(r.rounds == r.round.back() + 1);
      CHECK(r.rounds >= (total + width - 1) / width);
      std::vector<std::int64_t> sorted = r.chosen;
      std::sort(sorted.begin(), sorted.end());
      CHECK(std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end());
    }
  }
  // One dimension: a round for every choice, in the order of the scores.
  const std::vector<float> w = {1, -2, 3, 0.5F}, s = {0.1F, 0.4F, 0.3F, 0.4F};
  const CampaignResult r = select(w, 4, 1, s, 4);
  CHECK(r.chosen == std::vector<std::int64_t>{1, 3, 2, 0});
  CHECK(r.round == std::vector<std::int32_t>{0, 1, 2, 3});
  CHECK(r.rounds == 4);
}

TEST_CASE("duplicates, rank-deficient and zero candidates", "[campaign]") {
  const std::int64_t width = 40, total = 200, rank = 13;
  const std::vector<float> basis = test_normals(rank * width, 3), mix = test_normals(total * rank, 4);
  std::vector<float> w(static_cast<std::size_t>(total * width));
  for (std::int64_t i = 0; i < total; ++i) {
    for (std::int64_t k = 0; k < width; ++k) {
      double sum = 0;
      for (std::int64_t j = 0; j < rank; ++j)
        sum += static_cast<double>(mix[static_cast<std::size_t>(i * rank + j)]) *
               basis[static_cast<std::size_t>(j * width + k)];
      w[static_cast<std::size_t>(i * width + k)] = static_cast<float>(sum);
    }
  }
  for (int kind = 0; kind < 3; ++kind) {
    const std::vector<float> s = scores_of_kind(kind, total);
    const CampaignResult r = select(w, total, width, s, 30);
    plain_campaign(w, total, width, s, 30, &r, 1e-3);
    CHECK(r.rounds == 3);
    CHECK(r.recomputed_norms > 0);
  }

  // Every candidate twice: the twin waits for the next round. Two zero candidates come last.
  const std::int64_t distinct = 12;
  const std::vector<float> half = test_normals(distinct * width, 6);
  std::vector<float> twice(half);
  twice.insert(twice.end(), half.begin(), half.end());
  twice.insert(twice.begin(), static_cast<std::size_t>(width), 0.0F);
  twice.insert(twice.end(), static_cast<std::size_t>(width), 0.0F);
  std::vector<float> s(2 * distinct + 2, 0.5F);
  s.front() = s.back() = 1.0F;
  const CampaignResult r = select(twice, 2 * distinct + 2, width, s, 2 * distinct + 2);
  CHECK(r.rounds == 2);
  for (std::size_t t = 0; t < distinct; ++t) {
    CHECK(r.chosen[t] >= 1);
    CHECK(r.chosen[t] <= distinct);
    CHECK(r.chosen[t + distinct] > distinct);
  }
  CHECK(r.chosen[2 * distinct] == 0);
  CHECK(r.chosen[2 * distinct + 1] == 2 * distinct + 1);
  CHECK(r.product.back() == 0.0F);
  CHECK(r.residual.back() == 0.0F);

  // Nothing but zeros.
  const CampaignResult zeros = select(std::vector<float>(12, 0.0F), 4, 3, std::vector<float>(4, 1.0F), 3);
  CHECK(zeros.chosen == std::vector<std::int64_t>{0, 1, 2});
  CHECK(zeros.rounds == 1);
  CHECK(select(half, distinct, width, std::vector<float>(distinct, 1.0F), 0).chosen.empty());
}

TEST_CASE("ties go to the lower row", "[campaign]") {
  // Orthogonal candidates: all products stay equal.
  const std::int64_t n = 70;
  std::vector<float> w(static_cast<std::size_t>(n * n), 0.0F);
  for (std::int64_t i = 0; i < n; ++i) w[static_cast<std::size_t>(i * n + (i * 11) % n)] = static_cast<float>(i + 1);
  const CampaignResult r = select(w, n, n, std::vector<float>(static_cast<std::size_t>(n), 0.25F), n);
  for (std::int64_t i = 0; i < n; ++i) CHECK(r.chosen[static_cast<std::size_t>(i)] == i);
  CHECK(r.rounds == 1);
  // Scores of zero are ties as well.
  const CampaignResult zero = select(w, n, n, std::vector<float>(static_cast<std::size_t>(n), 0.0F), n);
  CHECK(zero.chosen == r.chosen);
  // A score of -0 is 0.
  CHECK(select({3, 0, 0, 1, 0, 2}, 3, 2, {-0.0F, 1.0F, 0.0F}, 3).chosen == std::vector<std::int64_t>{1, 0, 2});
}

TEST_CASE("the scale of a candidate does not matter", "[campaign]") {
  const std::int64_t total = 60, width = 20, count = 15;
  std::vector<float> w = test_normals(total * width, 8), scaled = w;
  for (std::int64_t i = 0; i < total; ++i) {
    // Powers of two over a range whose squares leave float32.
    const float factor = std::ldexp(1.0F, static_cast<int>(i * 3) - 90);
    for (std::int64_t k = 0; k < width; ++k) scaled[static_cast<std::size_t>(i * width + k)] *= factor;
  }
  const std::vector<float> s = scores_of_kind(0, total);
  CHECK(select(scaled, total, width, s, count).chosen == select(w, total, width, s, count).chosen);
}

TEST_CASE("the campaign does not depend on threads or on strides", "[campaign]") {
  const std::int64_t total = 700, width = 150, count = 120;
  const std::vector<float> w = test_normals(total * (width + 9), 12);
  std::vector<float> dense;
  for (std::int64_t i = 0; i < total; ++i)
    dense.insert(dense.end(), w.begin() + i * (width + 9), w.begin() + i * (width + 9) + width);
  const std::vector<float> s = scores_of_kind(1, total);
  const CampaignResult one = select(dense, total, width, s, count, 1);
  for (const int threads : {2, 3, 4}) {
    const CampaignResult more = select_campaign(
        test_execution(threads), ConstTensorView(w.data(), total, width, width + 9), s, {.count = count});
    CHECK(more.chosen == one.chosen);
    CHECK(more.product == one.product);
    CHECK(more.residual == one.residual);
  }
}

TEST_CASE("the campaign refuses what makes no sense", "[campaign]") {
  const std::vector<float> w = test_normals(12, 1), s(4, 1.0F);
  CHECK(message_of(w, 4, 3, s, 5, 1e-4, ErrorCode::usage).find("0 to 4, found 5") != std::string::npos);
  CHECK(message_of(w, 4, 3, s, -1, 1e-4, ErrorCode::usage).find("found -1") != std::string::npos);
  CHECK(message_of(w, 4, 3, s, 2, 0.0, ErrorCode::usage).find("tolerance") != std::string::npos);
  CHECK(message_of(w, 4, 3, {1, 1, 1}, 2, 1e-4, ErrorCode::bad_input).find("found 3") != std::string::npos);
  CHECK(message_of(w, 4, 3, {1, 1, -0.5F, 1}, 2, 1e-4, ErrorCode::bad_input).find("candidate 2") != std::string::npos);
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  CHECK(message_of(w, 4, 3, {1, nan, 1, 1}, 2, 1e-4, ErrorCode::numerical).find("candidate 1") != std::string::npos);
  for (const float bad_value : {nan, infinity, -infinity}) {
    std::vector<float> bad = w;
    bad[10] = bad_value;
    CHECK(message_of(bad, 4, 3, s, 2, 1e-4, ErrorCode::numerical).find("candidate 3") != std::string::npos);
  }
}

TEST_CASE("select_top takes the largest scores", "[campaign]") {
  const std::vector<float> s = {0.5F, -1.0F, 2.0F, 0.5F, 2.0F};
  CHECK(select_top(s, 4) == std::vector<std::int64_t>{2, 4, 0, 3});
  CHECK(select_top(s, 0).empty());
  CHECK_THROWS_AS(select_top(s, 6), Error);
  CHECK_THROWS_AS(select_top(std::vector<float>{1.0F, std::numeric_limits<float>::quiet_NaN()}, 1), Error);
}

}  // namespace kindling::test
