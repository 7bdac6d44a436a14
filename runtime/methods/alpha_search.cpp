#include <fmt/format.h>
#include <kindling/ibci.h>
#include <kindling/random.h>
#include <kindling/train.h>

#include <algorithm>
#include <functional>

namespace kindling {

AlphaSearchReport search_alpha(const Model& model, const Dataset& data, const IbciOptions& options,
                               const AlphaSearchOptions& search, const Context& context) {
  if (data.validation.count == 0) {
    throw Error(ErrorCode::usage,
                "ibci: alpha=search chooses on a validation split, and the data has none (--validation)");
  }
  if (search.draws < 1)
    throw Error(ErrorCode::usage, fmt::format("ibci: draws: expected 1 or more, found {}", search.draws));
  if (search.epochs < 1)
    throw Error(ErrorCode::usage, fmt::format("ibci: search_epochs: expected 1 or more, found {}", search.epochs));
  AlphaSearchReport report;
  // The test split takes no part: a data set without it serves the trial runs.
  Context quiet = context;
  quiet.progress = nullptr;
  for (int draw = 0; draw < search.draws; ++draw) {
    PhiloxReader reader({context.seed, Purpose::search, 0, static_cast<std::uint32_t>(draw)});
    std::vector<double> alpha(model.neuron_layers());
    for (double& a : alpha) a = reader.uniform();
    std::sort(alpha.begin(), alpha.end(), std::greater<>());
    Model trial = model.clone();
    IbciOptions trial_options = options;
    trial_options.alpha.values = alpha;
    initialize_ibci(trial, data, trial_options, quiet);
    TrainOptions training;
    training.epochs = search.epochs;
    training.batch = search.batch;
    training.optimizer.learning_rate = search.learning_rate;
    training.evaluate_test = false;
    const double error = train(trial, data, training, quiet).epochs.back().validation_error;
    report.alphas.push_back(alpha);
    report.validation_errors.push_back(error);
    if (error < report.validation_errors[report.best]) report.best = static_cast<std::size_t>(draw);
    context.report({"ibci alpha search", draw + 1, search.draws,
                    fmt::format("validation error {:.2f} %, best {:.2f} %", 100 * error,
                                100 * report.validation_errors[report.best])});
  }
  return report;
}

}  // namespace kindling
