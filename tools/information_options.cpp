#include "tools/information_options.h"

namespace kindling::tools {

void add_critic_options(CLI::App& verb, CriticOptions& critic) {
  const std::string group = "Critic";
  verb.add_option("--critic-widths", critic.hidden, "Hidden layers of the critic")
      ->delimiter('-')
      ->capture_default_str()
      ->group(group);
  verb.add_option("--critic-lr", critic.learning_rate, "Its learning rate, Adam")->capture_default_str()->group(group);
  verb.add_option("--leaky-slope", critic.leaky_slope, "Slope of its leaky ReLU for negative arguments")
      ->capture_default_str()
      ->group(group);
  verb.add_option("--average-rate", critic.average_rate,
                  "Rate of the moving average that corrects its gradient, in (0, 1]; 1: each batch's own mean")
      ->capture_default_str()
      ->group(group);
  verb.add_option("--divergence-limit", critic.divergence_limit, "Nats beyond which a batch's value means divergence")
      ->capture_default_str()
      ->group(group);
  verb.add_option("--restarts", critic.restarts, "Times that a diverged critic begins anew with a smaller step")
      ->capture_default_str()
      ->group(group);
  verb.add_option("--restart-factor", critic.restart_factor, "Factor on its learning rate then")
      ->capture_default_str()
      ->group(group);
}

nlohmann::json to_json(const CriticOptions& c) {
  return {{"widths", c.hidden},
          {"learning_rate", c.learning_rate},
          {"leaky_slope", c.leaky_slope},
          {"average_rate", c.average_rate},
          {"divergence_limit", c.divergence_limit},
          {"restarts", c.restarts},
          {"restart_factor", c.restart_factor}};
}

void add_estimate_options(CLI::App& verb, EstimateArguments& arguments) {
  const std::string group = "Estimate";
  InformationOptions& o = arguments.options;
  verb.add_option("--batch", o.batch, "Joint pairs an update, with as many product pairs")
      ->capture_default_str()
      ->group(group);
  verb.add_option("--updates", o.updates, "Updates of the critic, at most")->capture_default_str()->group(group);
  verb.add_option("--tolerance", o.tolerance, "Stop when the mean of a window rises by less than this; 0: never")
      ->capture_default_str()
      ->group(group);
  verb.add_option("--window", o.window, "Updates in a window")->capture_default_str()->group(group);
  verb.add_option("--product", arguments.product, "Product pairs: second-batch or permutation")
      ->capture_default_str()
      ->group(group);
  verb.add_option("--evaluation-pairs", o.evaluation_pairs, "Fresh pairs of the final value")
      ->capture_default_str()
      ->group(group);
  add_critic_options(verb, o.critic);
}

InformationOptions estimate_options(const EstimateArguments& arguments) {
  InformationOptions options = arguments.options;
  options.product = parse_product_pairs(arguments.product);
  return options;
}

nlohmann::json to_json(const InformationOptions& o) {
  return {{"critic", to_json(o.critic)},
          {"batch", o.batch},
          {"updates", o.updates},
          {"tolerance", o.tolerance},
          {"window", o.window},
          {"product", to_string(o.product)},
          {"evaluation_pairs", o.evaluation_pairs}};
}

nlohmann::json to_json(const InformationEstimate& e) {
  nlohmann::json trace = nlohmann::json::array();
  for (const InformationTrace& point : e.trace) trace.push_back({point.update, point.nats});
  return {{"nats", e.nats},
          {"standard_error", e.standard_error},
          {"training_nats", e.training_nats},
          {"updates", e.updates},
          {"converged", e.converged},
          {"restarts", e.restarts},
          {"learning_rate", e.learning_rate},
          {"evaluation_pairs", e.evaluation_pairs},
          {"trace", trace},
          {"seconds", e.seconds}};
}

}  // namespace kindling::tools
