// Parts of run_teacher_tasks.
#pragma once

#include <kindling/model.h>
#include <kindling/teacher.h>

#include <optional>

#include "io/json_lines.h"
#include "kernels/dispatch.h"

namespace kindling {

/// Samples of one task under one seed.
struct TeacherData {
  Tensor inputs, targets;                        // samples
  Tensor validation_inputs, validation_targets;  // validation samples
  double target_variance = 0;
};
TeacherData teacher_data(const kernels::Execution& execution, const TeacherOptions& options, TeacherTask task,
                         const Context& context);
/// The student's model: `depth` dense layers, ReLU between them.
Model student_model(const TeacherOptions& options, TeacherTask task);

TeacherRun train_student(const kernels::Execution& execution, const TeacherOptions& options, TeacherTask task,
                         const MethodSpec& method, const TeacherData& data, const Context& context);

/// The results file, or nothing where none is asked for. Of runs beyond a hundred epochs it holds some of the losses;
/// the others are NaN when they are read again.
class TeacherResults {
 public:
  explicit TeacherResults(const TeacherOptions& options);
  [[nodiscard]] std::optional<TeacherRun> find(TeacherTask task, const std::string& method, std::uint64_t seed) const;
  void append(const TeacherRun& run);
  [[nodiscard]] bool cut() const { return file_ && !file_->cut().empty(); }

 private:
  void read_line(std::string_view text, std::size_t number, const std::string& path);

  std::string settings_;
  int epochs_ = 0;
  std::optional<io::JsonLines> file_;
  std::vector<TeacherRun> runs_;
};

}  // namespace kindling
