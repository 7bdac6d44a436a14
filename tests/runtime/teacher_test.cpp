#include <kindling/error.h>
#include <kindling/teacher.h>

#include <cmath>

#include "support/catch.h"
#include "support/temp_dir.h"

using namespace kindling;

namespace {

TeacherOptions small() {
  return {.tasks = {TeacherTask::simple},
          .methods = {MethodSpec::parse("he"), MethodSpec::parse("raai")},
          .seeds = {0, 1},
          .depth = 3,
          .width = 12,
          .samples = 500,
          .validation = 100,
          .epochs = 10,
          .optimizer = {.learning_rate = 0.02}};
}

}  // namespace

TEST_CASE("students learn, paired under each seed, with controls beside them", "[teacher]") {
  const TeacherResult result = run_teacher_tasks(small(), {});
  CHECK(result.runs.size() == 6);  // he, raai, he-matched
  for (const TeacherRun& run : result.runs) {
    INFO(run.method << " seed " << run.seed);
    REQUIRE(run.failure.empty());
    REQUIRE(run.validation_loss.size() == 11);
    CHECK(std::isnan(run.train_loss[0]));
    CHECK(run.validation_loss.back() < 0.8 * run.validation_loss[0]);
    for (std::size_t e = 0; e < 11; ++e) CHECK(run.centred_loss[e] <= run.validation_loss[e] * (1 + 1e-6));
    CHECK(run.target_variance > 0);
  }
  REQUIRE(result.rows.size() == 6);  // epochs 1 and 10
  for (const TeacherRow& row : result.rows) {
    CHECK(row.over_baseline.difference.count == (row.method == "he" ? 0 : 2));
    CHECK(row.over_control.difference.count == (row.method == "raai" ? 2 : 0));
  }
}

TEST_CASE("teacher tasks go on from their file and do not depend on threads", "[teacher]") {
  const test::TempDir folder;
  TeacherOptions options = small();
  options.tasks = {TeacherTask::standard, TeacherTask::complex};
  options.epochs = 2;
  options.controls = false;
  options.results = (folder / "runs.jsonl").string();
  options.seeds = {3};
  const TeacherResult first = run_teacher_tasks(options, {.threads = 1});
  options.seeds = {3, 4};
  const TeacherResult more = run_teacher_tasks(options, {.threads = 1});
  int resumed = 0;
  for (const TeacherRun& run : more.runs) resumed += run.resumed ? 1 : 0;
  CHECK(resumed == 4);
  options.results.clear();
  const TeacherResult fresh = run_teacher_tasks(options, {.threads = 3});
  for (std::size_t i = 0; i < fresh.runs.size(); ++i) {
    CHECK(fresh.runs[i].validation_loss.back() == Approx(more.runs[i].validation_loss.back()).epsilon(1e-5));
  }
}

TEST_CASE("the file of a long run holds some epochs, the table's among them", "[teacher]") {
  const test::TempDir folder;
  TeacherOptions options = small();
  options.width = 4;
  options.samples = 8;
  options.epochs = 2010;
  options.seeds = {0};
  options.results = (folder / "runs.jsonl").string();
  const TeacherResult first = run_teacher_tasks(options, {}), again = run_teacher_tasks(options, {});
  REQUIRE(again.runs[0].resumed);
  const std::vector<double>&all = first.runs[0].validation_loss, &kept = again.runs[0].validation_loss;
  REQUIRE(kept.size() == all.size());
  std::size_t found = 0;
  for (std::size_t e = 0; e < all.size(); ++e) {
    if (std::isnan(kept[e])) continue;
    ++found;
    CHECK(kept[e] == Approx(all[e]).epsilon(1e-5));
  }
  CHECK(found > 150);
  CHECK(found < 200);
  REQUIRE(again.rows.size() == first.rows.size());
  for (std::size_t i = 0; i < first.rows.size(); ++i) {
    CHECK(again.rows[i].loss.mean == Approx(first.rows[i].loss.mean).epsilon(1e-5));
  }
}

TEST_CASE("a diverging student ends its own run only", "[teacher]") {
  TeacherOptions options = small();
  options.methods = {MethodSpec::parse("he:gain=1e12"), MethodSpec::parse("he")};
  const TeacherResult result = run_teacher_tasks(options, {});
  CHECK(result.runs[0].failure.find("epoch 1") != std::string::npos);
  CHECK(result.runs[1].failure.empty());
  CHECK(result.rows[0].failed == 2);
}

TEST_CASE("teacher tasks refuse what makes no sense", "[teacher]") {
  const auto refuses = [](auto change, const std::string& part) {
    TeacherOptions options = small();
    change(options);
    CHECK_THROWS_WITH(run_teacher_tasks(options, {}), Catch::Contains(part));
  };
  refuses([](TeacherOptions& o) { o.methods = {MethodSpec::parse("lsuv")}; }, "lsuv");
  refuses([](TeacherOptions& o) { o.methods.push_back(o.methods[0]); }, "twice");
  refuses([](TeacherOptions& o) { o.samples = 0; }, "samples");
  refuses([](TeacherOptions& o) { o.epochs = 0; }, "epochs");
  refuses([](TeacherOptions& o) { o.seeds = {}; }, "seeds");
  refuses([](TeacherOptions& o) { o.optimizer.learning_rate = -1; }, "learning rate");
  CHECK_THROWS_WITH(parse_teacher_task("hard"), Catch::Contains("hard"));
}

TEST_CASE("a full-batch student takes gradient steps on the squared error", "[teacher]") {
  // The loss falls by rate |gradient|^2 to first order: half the rate gives half the fall.
  const auto fall = [](double rate) {
    TeacherOptions options = small();
    options.methods = {MethodSpec::parse("he")};
    options.controls = false;
    options.seeds = {5};
    options.depth = 1;
    options.samples = 400;
    options.batch = 400;
    options.epochs = 2;
    options.optimizer.learning_rate = rate;
    const TeacherRun run = run_teacher_tasks(options, {}).runs.front();
    return run.train_loss[1] - run.train_loss[2];  // before the first step, before the second
  };
  const double one = fall(0.02), half = fall(0.01);
  CHECK(one > 0);
  CHECK(one / half == Approx(2).epsilon(0.02));
}
