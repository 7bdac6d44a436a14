#include <kindling/compare.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <stop_token>

#include "support/catch.h"
#include "support/expect_error.h"
#include "support/small_data.h"
#include "support/temp_dir.h"

using namespace kindling;
using kindling::test::expect_error;
using kindling::test::TempDir;

namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

const Dataset& clouds() {
  static const Dataset data = test::small_data(400, 20, 4);
  return data;
}

CompareOptions small_options() {
  CompareOptions options;
  options.models = {"20-7-4"};
  options.methods = {MethodSpec::parse("xavier"), MethodSpec::parse("ibci:law=xavier,k=2")};
  options.seeds = {0, 1};
  options.train.epochs = 2;
  options.train.batch = 50;
  return options;
}

Context two_threads() {
  Context context;
  context.threads = 2;
  return context;
}

void check_same_results(const Comparison& a, const Comparison& b) {
  REQUIRE(a.runs.size() == b.runs.size());
  for (std::size_t i = 0; i < a.runs.size(); ++i) {
    CHECK(a.runs[i].method == b.runs[i].method);
    CHECK(a.runs[i].seed == b.runs[i].seed);
    REQUIRE(a.runs[i].training.epochs.size() == b.runs[i].training.epochs.size());
    for (std::size_t e = 0; e < a.runs[i].training.epochs.size(); ++e) {
      // Equal to the last bit: a results file and the number of jobs change nothing.
      CHECK(a.runs[i].training.epochs[e].test_loss == b.runs[i].training.epochs[e].test_loss);
      CHECK(a.runs[i].training.epochs[e].test_error == b.runs[i].training.epochs[e].test_error);
      CHECK(a.runs[i].training.epochs[e].validation_error == b.runs[i].training.epochs[e].validation_error);
    }
  }
}

std::int64_t resumed(const Comparison& comparison) {
  return std::count_if(comparison.runs.begin(), comparison.runs.end(),
                       [](const CompareRun& run) { return run.resumed; });
}

std::int64_t lines(const std::string& text) { return std::count(text.begin(), text.end(), '\n'); }

// A run whose test errors after each epoch are given.
CompareRun made_run(const std::string& method, std::uint64_t seed, const std::vector<double>& test,
                    const std::vector<double>& validation = {}) {
  CompareRun run;
  run.model = "20-4";
  run.method = method;
  run.seed = seed;
  run.init_seconds = 0.25 * static_cast<double>(seed + 1);
  run.training.epochs.push_back(
      {.epoch = 0, .train_loss = nan, .validation_error = validation.empty() ? nan : 0.9, .test_error = 0.9});
  for (std::size_t e = 0; e < test.size(); ++e) {
    run.training.epochs.push_back({.epoch = static_cast<int>(e) + 1,
                                   .validation_error = validation.empty() ? nan : validation[e],
                                   .test_error = test[e]});
  }
  return run;
}

CompareOptions made_options() {
  CompareOptions options;
  options.models = {"20-4"};
  options.methods = {MethodSpec::parse("xavier"), MethodSpec::parse("he")};
  options.seeds = {0, 1, 2};
  return options;
}

}  // namespace

TEST_CASE("a comparison runs every method, its control and every seed", "[compare]") {
  const Comparison comparison = run_comparison(small_options(), clouds(), two_threads());
  REQUIRE(comparison.runs.size() == 6);
  REQUIRE(comparison.table.rows.size() == 3);
  const ComparisonRow& ibci = comparison.table.rows[1];
  const ComparisonRow& control = comparison.table.rows[2];
  CHECK(comparison.table.rows[0].reference.empty());
  CHECK(ibci.reference == control.method);
  CHECK(control.method == control_of(MethodSpec::parse("ibci:law=xavier,k=2")).text());
  CHECK(control.control);
  CHECK(control.reference == "xavier");
  CHECK(comparison.table.comparisons == 2);
  CHECK(comparison.table.metric == ErrorMetric::chosen);  // the data have a validation split
  for (const ComparisonRow& row : comparison.table.rows) {
    CHECK(row.runs == 2);
    CHECK(row.failed == 0);
    CHECK(row.min_test_error.count == 2);
    CHECK(row.min_test_error.mean <= row.final_test_error.mean);
    CHECK(row.final_test_error.mean < 0.75);  // guessing errs on 3 of 4
  }

  CompareOptions plain = small_options();
  plain.controls = false;
  CHECK(run_comparison(plain, clouds(), two_threads()).table.rows.size() == 2);
}

TEST_CASE("a run of a comparison is that run alone", "[compare]") {
  const Comparison comparison = run_comparison(small_options(), clouds(), two_threads());
  Context context = two_threads();
  context.seed = 1;
  Model model = Model::parse("20-7-4");
  (void)initialize(model, MethodSpec::parse("ibci:law=xavier,k=2"), &clouds(), context);
  const TrainResult alone = train(model, clouds(), small_options().train, context);
  const CompareRun& run = comparison.runs[3];
  CHECK(run.seed == 1);
  CHECK(run.training.epochs.back().test_loss == alone.epochs.back().test_loss);

  CompareOptions parallel = small_options();
  parallel.jobs = 3;
  check_same_results(run_comparison(parallel, clouds(), two_threads()), comparison);
}

TEST_CASE("a results file spares finished runs", "[compare]") {
  const TempDir folder;
  CompareOptions options = small_options();
  options.results = (folder / "runs.jsonl").string();
  const Comparison first = run_comparison(options, clouds(), two_threads());
  CHECK(resumed(first) == 0);
  CHECK(first.notes.empty());
  const std::string content = folder.read("runs.jsonl");
  CHECK(lines(content) == 6);

  const Comparison again = run_comparison(options, clouds(), two_threads());
  CHECK(resumed(again) == 6);
  check_same_results(again, first);
  CHECK(folder.read("runs.jsonl") == content);
  REQUIRE(again.notes.size() == 1);
  CHECK(again.notes[0].find("6 of 6") != std::string::npos);

  SECTION("a further seed runs alone") {
    options.seeds.push_back(7);
    CHECK(resumed(run_comparison(options, clouds(), two_threads())) == 6);
    CHECK(lines(folder.read("runs.jsonl")) == 9);
  }
  SECTION("the model's spelling does not matter") {
    options.models = {"20-7-4:relu"};
    CHECK(resumed(run_comparison(options, clouds(), two_threads())) == 6);
  }
  SECTION("another learning rate is another run") {
    options.train.optimizer.learning_rate = 0.05;
    CHECK(resumed(run_comparison(options, clouds(), two_threads())) == 0);
  }
  SECTION("an option that the optimiser does not have is no difference") {
    options.train.optimizer.momentum = 0.5;
    CHECK(resumed(run_comparison(options, clouds(), two_threads())) == 6);
  }
  SECTION("data that differ in one number are other data, whatever their name") {
    Dataset other = test::small_data(400, 20, 4);
    other.name = "a copy";
    CHECK(resumed(run_comparison(options, other, two_threads())) == 6);
    other.test.floats.back() += 1.0F;
    CHECK(resumed(run_comparison(options, other, two_threads())) == 0);
  }
}

TEST_CASE("a line that a crash cut off is repeated", "[compare]") {
  const TempDir folder;
  CompareOptions options = small_options();
  options.results = (folder / "runs.jsonl").string();
  const Comparison first = run_comparison(options, clouds(), two_threads());
  const std::string content = folder.read("runs.jsonl");
  // Cut within the last line, just before its end, and within the only line.
  const std::size_t last = content.rfind('\n', content.size() - 2) + 1;
  for (const std::size_t size : {last + 1, last + 40, content.size() - 1, std::size_t{40}}) {
    folder.write("runs.jsonl", content.substr(0, size));
    const Comparison again = run_comparison(options, clouds(), two_threads());
    INFO("cut to " << size << " of " << content.size() << " bytes");
    CHECK(resumed(again) == (size == 40 ? 0 : 5));
    REQUIRE(!again.notes.empty());
    CHECK(again.notes[0].find(size == 40 ? "line 1" : "line 6") != std::string::npos);
    check_same_results(again, first);
    CHECK(lines(folder.read("runs.jsonl")) == 6);
    CHECK(resumed(run_comparison(options, clouds(), two_threads())) == 6);
  }
}

TEST_CASE("a file that is no results file stays as it is", "[compare]") {
  const TempDir folder;
  CompareOptions options = small_options();
  options.results = (folder / "file").string();
  const auto refuse = [&](const std::string& content, ErrorCode code, const std::string& part) {
    folder.write("file", content);
    expect_error(code, {"file", part}, [&] { (void)run_comparison(options, clouds(), two_threads()); });
    CHECK(folder.read("file") == content);
  };
  refuse("my notes\n", ErrorCode::bad_input, "line 1");
  refuse("my notes", ErrorCode::bad_input, "not a results file");
  refuse("{\"format\": 2}\n", ErrorCode::bad_input, "format 1 expected, found 2");
  refuse("{\"format\": 1}\n", ErrorCode::bad_input, "line 1");
  refuse("[]\n", ErrorCode::bad_input, "line 1");

  options.results = folder.path().string();
  expect_error(ErrorCode::file, {folder.path().string(), "directory"},
               [&] { (void)run_comparison(options, clouds(), two_threads()); });
  options.results = (folder / "no").string() + "/such/folder";
  expect_error(ErrorCode::file, {"such/folder"}, [&] { (void)run_comparison(options, clouds(), two_threads()); });
  options.results = "/dev/full";
  expect_error(ErrorCode::file, {"/dev/full", "No space left"},
               [&] { (void)run_comparison(options, clouds(), two_threads()); });
}

TEST_CASE("a stopped comparison keeps its finished runs and goes on", "[compare]") {
  const Comparison whole = run_comparison(small_options(), clouds(), two_threads());
  for (const int jobs : {1, 2}) {
    const TempDir folder;
    CompareOptions options = small_options();
    options.results = (folder / "runs.jsonl").string();
    options.jobs = jobs;
    Context context = two_threads();
    std::stop_source stop;
    context.stop = stop.get_token();
    context.progress = [&](const Progress& p) {
      if (p.stage.starts_with("2 of")) stop.request_stop();
    };
    expect_error(ErrorCode::interrupted, {"runs.jsonl", "of 6 runs"},
                 [&] { (void)run_comparison(options, clouds(), context); });
    const std::int64_t kept = lines(folder.read("runs.jsonl"));
    CHECK(kept >= 2);
    CHECK(kept < 6);
    const Comparison resumed_run = run_comparison(options, clouds(), two_threads());
    CHECK(resumed(resumed_run) == kept);
    check_same_results(resumed_run, whole);
  }
}

TEST_CASE("a run that diverges is counted, kept and does not end the comparison", "[compare]") {
  const TempDir folder;
  CompareOptions options = small_options();
  options.methods = {MethodSpec::parse("xavier"), MethodSpec::parse("he:gain=1e30")};
  options.results = (folder / "runs.jsonl").string();
  const Comparison comparison = run_comparison(options, clouds(), two_threads());
  CHECK(comparison.table.rows[0].failed == 0);
  CHECK(comparison.table.rows[1].failed == 2);
  CHECK(std::isnan(comparison.table.rows[1].final_test_error.mean));
  CHECK(std::isnan(comparison.table.rows[1].difference.p));
  CHECK_FALSE(comparison.table.rows[1].significant);
  CHECK(comparison.table.comparisons == 0);
  CHECK(!comparison.runs[2].failure.empty());
  const Comparison again = run_comparison(options, clouds(), two_threads());
  CHECK(resumed(again) == 4);
  CHECK(again.runs[2].failure == comparison.runs[2].failure);
}

TEST_CASE("a comparison measures the training error between its steps", "[compare]") {
  const TempDir folder;
  CompareOptions options = small_options();
  options.controls = false;
  const Comparison plain = run_comparison(options, clouds(), two_threads());
  const std::int64_t samples = clouds().train.count,
                     per_epoch = (samples + options.train.batch - 1) / options.train.batch;
  options.curve_at = {0, 1, per_epoch};
  options.results = (folder / "runs.jsonl").string();
  const Comparison curved = run_comparison(options, clouds(), two_threads());
  check_same_results(plain, curved);  // looking changes nothing
  for (const CompareRun& run : curved.runs) {
    REQUIRE(run.train_errors.size() == 3);
    // The first point is that of the untrained network, the last one that of one epoch alone.
    Model model = Model::parse(run.model);
    Context context;
    context.seed = run.seed;
    initialize(model, MethodSpec::parse(run.method), &clouds(), context);
    CHECK(run.train_errors[0] == evaluate(model, clouds(), clouds().train, context).error);
    TrainOptions once = options.train;
    once.epochs = 1;
    (void)train(model, clouds(), once, context);
    CHECK(run.train_errors[2] == evaluate(model, clouds(), clouds().train, context).error);
    CHECK(run.train_errors[2] < run.train_errors[0]);
  }
  const ComparisonRow& row = curved.table.rows.front();
  REQUIRE(row.train_errors.size() == 3);
  CHECK(row.train_errors[1].mean == Approx((curved.runs[0].train_errors[1] + curved.runs[1].train_errors[1]) / 2));
  const Comparison again = run_comparison(options, clouds(), two_threads());
  CHECK(resumed(again) == 4);
  CHECK(again.runs[3].train_errors == curved.runs[3].train_errors);
  // Runs without these points, or with others, are other runs.
  options.curve_at = {1};
  CHECK(resumed(run_comparison(options, clouds(), two_threads())) == 0);
  for (const std::vector<std::int64_t>& wrong : {std::vector<std::int64_t>{-1}, {2, 2}, {3, 1}, {2 * per_epoch + 1}}) {
    options.curve_at = wrong;
    expect_error(ErrorCode::usage, {"curve", std::to_string(2 * per_epoch), std::to_string(wrong.back())},
                 [&] { (void)run_comparison(options, clouds(), two_threads()); });
  }
}

TEST_CASE("the table's numbers", "[compare]") {
  const std::vector<CompareRun> runs = {
      made_run("xavier", 0, {0.5, 0.30, 0.32}), made_run("xavier", 1, {0.5, 0.36, 0.34}),
      made_run("xavier", 2, {0.5, 0.30, 0.36}), made_run("he", 0, {0.4, 0.28, 0.29}),
      made_run("he", 1, {0.3, 0.33, 0.33}),     made_run("he", 2, {0.4, 0.31, 0.31})};
  ComparisonTable table = tabulate(runs, made_options());
  REQUIRE(table.rows.size() == 2);
  const ComparisonRow& xavier = table.rows[0];
  const ComparisonRow& he = table.rows[1];
  CHECK(table.metric == ErrorMetric::last);  // no validation split
  CHECK(xavier.min_test_error.mean == Approx((0.30 + 0.34 + 0.30) / 3));
  CHECK(xavier.min_test_epoch == Approx((2 + 3 + 2) / 3.0));
  CHECK(he.min_test_error.mean == Approx((0.28 + 0.30 + 0.31) / 3));
  CHECK(he.min_test_epoch == Approx((2 + 1 + 2) / 3.0));
  CHECK(std::isnan(xavier.chosen_test_error.mean));
  CHECK(xavier.final_test_error.mean == Approx(0.34));
  CHECK(xavier.init_seconds == Approx(0.5));
  // Reach: the larger of the mean final errors, 0.34. xavier gets there in epochs 2, 3, 2 and he in 2, 1, 2.
  REQUIRE(table.reach.size() == 1);
  CHECK(table.reach[0].second == Approx(0.34));
  CHECK(xavier.reached == 3);
  CHECK(xavier.epochs_to_reach == Approx(7 / 3.0));
  CHECK(he.epochs_to_reach == Approx(5 / 3.0));
  // Differences -0.03, -0.01, -0.05: mean -0.03, standard deviation 0.02, t = -0.03 / (0.02 / sqrt 3) = -2.598.
  CHECK(he.reference == "xavier");
  CHECK(he.difference.difference.mean == Approx(-0.03));
  CHECK(he.difference.t == Approx(-std::sqrt(6.75)));
  CHECK(he.difference.p == Approx(0.12169).epsilon(1e-4));  // 1 - |t| / sqrt(2 + t^2) for two degrees of freedom
  CHECK(he.p_adjusted == Approx(he.difference.p));
  CHECK_FALSE(he.significant);

  CompareOptions options = made_options();
  options.metric = ErrorMetric::minimum;
  options.reach = 0.3;
  table = tabulate(runs, options);
  CHECK(table.rows[0].reached == 2);
  CHECK(table.rows[0].epochs_to_reach == 2);
  CHECK(table.rows[1].reached == 2);
  CHECK(table.rows[1].difference.difference.mean == Approx((-0.02 - 0.04 + 0.01) / 3));
  options.reach = 0.1;
  CHECK(std::isnan(tabulate(runs, options).rows[0].epochs_to_reach));
}

TEST_CASE("the table follows validation where there is one", "[compare]") {
  const std::vector<CompareRun> runs = {made_run("xavier", 0, {0.5, 0.3, 0.4}, {0.5, 0.4, 0.3}),
                                        made_run("he", 0, {0.2, 0.3, 0.4}, {0.3, 0.3, 0.4})};
  const ComparisonTable table = tabulate(runs, made_options());
  CHECK(table.metric == ErrorMetric::chosen);
  CHECK(table.rows[0].chosen_test_error.mean == 0.4);
  CHECK(table.rows[0].chosen_epoch == 3);
  CHECK(table.rows[1].chosen_test_error.mean == 0.2);  // the first of equal epochs
  CHECK(table.rows[1].chosen_epoch == 1);
  // One seed: a difference, but no interval and no test.
  CHECK(table.rows[1].difference.difference.mean == Approx(-0.2));
  CHECK(std::isnan(table.rows[1].difference.difference.half_width));
  CHECK(std::isnan(table.rows[1].p_adjusted));
  CHECK(table.comparisons == 0);
}

TEST_CASE("pairs need both runs, and Holm counts all comparisons", "[compare]") {
  CompareOptions options = made_options();
  options.methods = {MethodSpec::parse("xavier"), MethodSpec::parse("he"), MethodSpec::parse("lecun")};
  std::vector<CompareRun> runs;
  const double wobble[] = {0.001, -0.001, 0.0};
  for (std::uint64_t seed = 0; seed < 3; ++seed) {
    runs.push_back(made_run("xavier", seed, {0.3}));
    runs.push_back(made_run("he", seed, {0.2 + wobble[seed]}));
    runs.push_back(made_run("lecun", seed, {0.3 + 2 * wobble[seed]}));
  }
  const ComparisonTable table = tabulate(runs, options);
  CHECK(table.comparisons == 2);
  CHECK(table.rows[1].p_adjusted == Approx(2 * table.rows[1].difference.p));
  CHECK(table.rows[1].significant);
  CHECK_FALSE(table.rows[2].significant);
  CHECK(table.rows[2].p_adjusted == 1);

  runs[4].failure = "the loss is nan";  // he, seed 1
  const ComparisonTable partial = tabulate(runs, options);
  CHECK(partial.rows[1].runs == 3);
  CHECK(partial.rows[1].failed == 1);
  CHECK(partial.rows[1].difference.difference.count == 2);
}

TEST_CASE("options that make no comparison", "[compare]") {
  const auto refuse = [](ErrorCode code, std::initializer_list<std::string> parts, auto&& change) {
    CompareOptions options = small_options();
    change(options);
    expect_error(code, parts, [&] { (void)run_comparison(options, clouds(), two_threads()); });
  };
  refuse(ErrorCode::usage, {"model"}, [](CompareOptions& o) { o.models.clear(); });
  refuse(ErrorCode::usage, {"method"}, [](CompareOptions& o) { o.methods.clear(); });
  refuse(ErrorCode::usage, {"seed"}, [](CompareOptions& o) { o.seeds.clear(); });
  refuse(ErrorCode::usage, {"seed", "twice"}, [](CompareOptions& o) { o.seeds = {3, 3}; });
  refuse(ErrorCode::usage, {"model", "twice"}, [](CompareOptions& o) { o.models = {"20-7-4", "20-7-4"}; });
  refuse(ErrorCode::usage, {"xavier", "twice"}, [](CompareOptions& o) { o.methods.push_back(o.methods.front()); });
  refuse(ErrorCode::usage, {"jobs", "0"}, [](CompareOptions& o) { o.jobs = 0; });
  refuse(ErrorCode::usage, {"reach", "1.5"}, [](CompareOptions& o) { o.reach = 1.5; });
  refuse(ErrorCode::bad_input, {"784", "20"}, [](CompareOptions& o) { o.models = {"20-7-4", "784-4"}; });
  Dataset data = test::small_data(400, 20, 4);
  data.validation = {};
  CompareOptions options = small_options();
  options.metric = ErrorMetric::chosen;
  expect_error(ErrorCode::usage, {"validation"}, [&] { (void)run_comparison(options, data, two_threads()); });
  data.test = {};
  options.metric = ErrorMetric::automatic;
  expect_error(ErrorCode::bad_input, {"clouds", "test split"},
               [&] { (void)run_comparison(options, data, two_threads()); });
  CHECK(parse_error_metric("min") == ErrorMetric::minimum);
  CHECK(to_string(ErrorMetric::last) == "final");
  expect_error(ErrorCode::usage, {"metric", "best"}, [] { (void)parse_error_metric("best"); });
}
