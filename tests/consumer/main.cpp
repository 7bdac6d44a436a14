// Initializes a network with IBCI, trains it for an epoch and prints its test error: what an application does with the
// installed library.
#include <kindling/compare.h>
#include <kindling/dataset.h>
#include <kindling/error.h>
#include <kindling/ibci.h>
#include <kindling/model.h>
#include <kindling/targets.h>
#include <kindling/train.h>

#include <iostream>

int main() {
  try {
    kindling::Context context;
    context.seed = 1;
    const kindling::Dataset data = kindling::load_dataset("synthetic:glyphs:train=2000,test=500", {}, context);
    kindling::Model model = kindling::Model::parse("256-32-10");
    const kindling::IbciReport report = kindling::initialize_ibci(model, data, {}, context);
    kindling::TrainOptions options;
    options.epochs = 1;
    const kindling::TrainResult result = kindling::train(model, data, options, context);
    const double error = result.epochs.back().test_error;
    std::cout << "kindling " << kindling::version() << ": " << report.layers.size()
              << " layers initialized, test error " << 100 * error << " % after one epoch\n";
    // Guessing errs on 90 % of ten classes.
    return error < 0.8 ? 0 : 1;
  } catch (const kindling::Error& error) {
    std::cerr << error.what() << '\n';
    return static_cast<int>(error.code());
  }
}
