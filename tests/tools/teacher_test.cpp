#include "support/catch.h"
#include "support/temp_dir.h"
#include "tools/program.h"

using namespace kindling::test;

TEST_CASE("evaluate teacher prints a table and goes on from its file", "[teacher]") {
  const TempDir folder;
  std::vector<std::string> arguments{"evaluate",
                                     "teacher",
                                     "--tasks",
                                     "simple",
                                     "--methods",
                                     "he",
                                     "rai",
                                     "--seeds",
                                     "2",
                                     "--depth",
                                     "3",
                                     "--width",
                                     "10",
                                     "--samples",
                                     "200",
                                     "--epochs",
                                     "2",
                                     "--results",
                                     (folder / "t.jsonl").string()};
  const Outcome run = run_program(arguments);
  INFO(run.error);
  REQUIRE(run.status == 0);
  for (const char* part : {"he-matched:like=rai", "vs control", "simple"})
    CHECK(run.out.find(part) != std::string::npos);
  const Outcome again = run_program(arguments);
  CHECK(again.out == run.out);
  check_failure(run_program({"evaluate", "teacher", "--tasks", "hard"}), 2, {"hard"});
  check_failure(run_program({"evaluate", "teacher", "--methods", "ibci"}), 2, {"ibci"});
  check_failure(run_program({"evaluate", "teacher", "--seeds", "0"}), 2, {"--seeds"});
}
