#include "methods/method_entries.h"

#include <fmt/format.h>
#include <kindling/error.h>

#include <string>
#include <utility>

namespace kindling {
namespace {

using Options = std::vector<std::pair<std::string, std::string>>;

Options joined(Options first, const Options& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

const Options law_options = {{"distribution", "normal | uniform (normal)"},
                             {"fan", "in | out | average, for he (in)"},
                             {"gain", "factor on the law; 0: by the activation for he and orthogonal, else 1 (0)"},
                             {"bias", "zero | uniform, PyTorch's +-1/sqrt(fan_in) (zero)"}};
const Options ibci_options =
    joined({{"law", "xavier | he | lecun | orthogonal: where candidates come from (xavier; program: he)"},
            {"k", "candidates per neuron (5)"},
            {"alpha",
             "weight of the input criterion: one number, first/last, one per layer joined by '/', or search (0.9/0.1)"},
            {"draws", "alpha=search: random draws (20)"},
            {"search_epochs", "alpha=search: epochs of each trial training (2)"},
            {"search_lr", "alpha=search: learning rate of the trial trainings, SGD (0.1)"},
            {"criteria", "both | input | target (both)"},
            {"score_on", "auto | pre | post activation; auto: post for hidden layers, logits for the last (auto)"},
            {"scores", "true | false: without scores only directions count (true)"},
            {"campaign", "true | false: without the campaign only scores count (true)"},
            {"variant", "paper | program, the authors' published program (paper)"},
            {"max_candidates", "variant=program: most candidates of a layer (1000)"},
            {"samples", "random subset of the training samples; 0: all (0)"},
            {"cache_mb", "memory for a frozen layer's outputs, MB (150)"}},
           law_options);

const Options jacobian_options = {
    {"simulate", "true | false: measured on data, which convolutions need, or from the widths alone (false)"},
    {"norm", "wanted spectral norm of each layer's Jacobian (1)"},
    {"samples", "simulate=true: random training samples for the mean norm; 0: all (200)"},
    {"tolerance", "simulate=true: accepted distance from the norm, relative (0.01)"},
    {"iterations", "simulate=true: most rescalings of a layer (10)"},
    {"distribution", "normal | uniform (normal)"},
    {"bias", "zero | uniform, PyTorch's +-1/sqrt(fan_in) (zero)"}};

const Options bottleneck_options =
    joined({{"base", "xavier | he | lecun | orthogonal: what training starts from (he)"},
            {"beta", "weight of I(X; L + noise) for dense layers (0.001)"},
            {"conv_beta", "the same for convolutions (0)"},
            {"iterations", "of each layer (5000)"},
            {"lr", "learning rate of the layers, Adam (0.001)"},
            {"critic_updates", "of each critic an iteration (10)"},
            {"batch", "joint pairs, with as many product pairs (100)"},
            {"noise_variance", "of the noise on L (2)"},
            {"warmup", "most updates of the critics before the first iteration (2000)"},
            {"warmup_tolerance", "nats by which 100 updates must raise the mean for it to go on (0.01)"},
            {"estimator", "aa-mine | mine, for I(X; L + noise) (aa-mine)"},
            {"product", "second-batch | permutation: where product pairs come from (second-batch)"},
            {"through_copy", "true | false: gradient also through the copy of the layers in the critic (false)"},
            {"critic", "hidden layers of the critics (1500/1500)"},
            {"critic_lr", "their learning rate, Adam (0.0001)"},
            {"average_rate", "of the moving average that corrects their gradient; 1: none (1)"},
            {"restarts", "times that a diverged critic begins anew with a tenth of the step (0)"},
            {"post", "iterations of the linear layer trained at the end and folded in; 0: none (5000)"},
            {"post_lr", "its learning rate, Adam (0.001)"},
            {"cache_mb", "memory for frozen outputs, MB (300)"}},
           law_options);

// The options of correlated laws with the defaults of one.
Options correlated_options(const std::string& k, const std::string& variance, bool asymmetric) {
  const std::string bias = asymmetric ? "entry" : "independent", beta = asymmetric ? "true" : "false";
  return {{"k", "strength, above -1: 0 independent, above 0 anti-correlated (" + k + ")"},
          {"weight_variance",
           "sigma_w^2, divided by fan-in, or keep: what keeps lengths without biases (" + variance + ")"},
          {"bias_variance", "sigma_b^2 of independent biases (0)"},
          {"bias", "entry: one more entry of each row | independent (" + bias + ")"},
          {"beta", "true | false: one entry of each row is a Beta(2, 1) draw (" + beta + ")"}};
}
const Options match_option = {
    {"match", "none | aci | rai | raai: scale every layer to the length that this law's defaults give it (none)"}};

const Options mmd_options =
    joined({{"law", "xavier | he | lecun | orthogonal: where the search starts (xavier)"},
            {"perturbations", "S, perturbed networks a step (16)"},
            {"batch", "inputs a step (50)"},
            {"steps", "at most so many (1200)"},
            {"lr", "learning rate of Adam (0.0003)"},
            {"schedule", "constant | linear | cosine: the rate's way down to 0 (constant)"},
            {"s2", "variance of the perturbations times the fan (0.5)"},
            {"uniformity", "weight of L_uni (1)"},
            {"lambda", "weight of L_sd (0.4)"},
            {"xi", "weight of L_iod (1)"},
            {"statistic", "v | u (v)"},
            {"bandwidth", "median | a number: of the kernel (median)"},
            {"hinge", "auto | printed | share: L_sd's form; auto: printed for 2 outputs, else share (auto)"},
            {"span", "true | false: draw the first layer's perturbation in the span of the batch (true)"},
            {"window", "steps averaged for curve, choice and early stop (50)"},
            {"patience", "windows without improvement before stopping; 0: never (10)"},
            {"checkpoint", "safetensors file to go on from, written after every window (none)"}},
           law_options);
const Options random_label_options =
    joined({{"law", "xavier | he | lecun | orthogonal: where the search starts (xavier)"},
            {"batch", "inputs a step (50)"},
            {"steps", "at most so many (1200)"},
            {"lr", "learning rate of Adam (0.001)"},
            {"window", "steps averaged for curve, choice and early stop (50)"},
            {"patience", "windows without improvement before stopping; 0: never (10)"}},
           law_options);

}  // namespace

const std::vector<MethodEntry>& method_entries() {
  static const std::vector<MethodEntry> all = {
      {{"xavier", "Glorot & Bengio 2010: variance 2 / (fan_in + fan_out)", false, law_options},
       MethodKind::baseline,
       Law::xavier},
      {{"he", "He et al. 2015: variance gain^2 / fan", false, law_options}, MethodKind::baseline, Law::he},
      {{"lecun", "LeCun et al. 1998: variance 1 / fan_in", false, law_options}, MethodKind::baseline, Law::lecun},
      {{"orthogonal", "Saxe et al. 2014: orthonormal rows or columns times gain", false, law_options},
       MethodKind::baseline,
       Law::orthogonal},
      {{"lsuv", "Mishkin & Matas 2016: layer-sequential unit variance on top of a base law", true,
        joined({{"base", "xavier | he | lecun | orthogonal (orthogonal)"},
                {"variance", "wanted variance of each layer's pre-activations (1)"},
                {"tolerance", "accepted distance from it (0.02)"},
                {"iterations", "most rescalings of a layer (10)"},
                {"samples", "random training samples for the variance; 0: all (2000)"},
                {"last_layer", "true | false: rescale the output layer too (true)"}},
               law_options)},
       MethodKind::lsuv,
       Law::orthogonal},
      {{"jacobian", "Skorski 2020: spectral norm of every layer's Jacobian 1, by a closed form or on data", false,
        jacobian_options},
       MethodKind::jacobian,
       Law::xavier},
      {{"ibci", "Mao et al. 2021: information-bottleneck guided neuron campaign", true, ibci_options},
       MethodKind::ibci,
       Law::xavier},
      {{"ibci-control", "ibci's law, scale and biases without its selection", true, ibci_options},
       MethodKind::ibci_control,
       Law::xavier},
      {{"bottleneck", "layer-by-layer training by the information bottleneck (ICLR 2019 submission)", true,
        bottleneck_options},
       MethodKind::bottleneck,
       Law::he},
      {{"bottleneck-control", "bottleneck's mean and norm of every layer's weights, drawn at random", true,
        bottleneck_options},
       MethodKind::bottleneck_control,
       Law::he},
      {{"aci", "anti-correlated initialization: the entries of a row nearly cancel", false,
        joined(correlated_options("100", "2", false), match_option)},
       MethodKind::correlated,
       Law::he,
       aci_options()},
      {{"rai", "random asymmetric initialization: a positive entry in every row makes fewer units dead", false,
        joined(correlated_options("0", "0.36", true), match_option)},
       MethodKind::correlated,
       Law::he,
       rai_options()},
      {{"raai", "random asymmetric anti-correlated initialization: both", false,
        joined(correlated_options("100", "0.9", true), match_option)},
       MethodKind::correlated,
       Law::he,
       raai_options()},
      {{"he-matched", "independent normal weights with the length that aci, rai or raai gives every layer", false,
        joined({{"like", "aci | rai | raai: whose length; the other options change that law (raai)"}},
               correlated_options("of like", "of like", true))},
       MethodKind::he_matched,
       Law::he},
      {{"mmd", "Lee et al. 2023: learned from unlabelled inputs by maximum mean discrepancy", true, mmd_options, false},
       MethodKind::mmd,
       Law::xavier},
      {{"mmd-control", "random weights of mmd's means and norms, layer by layer", true,
        joined({{"match", "norm | jacobian: match the mean norms of the Jacobians' rows too (norm)"}}, mmd_options),
        false},
       MethodKind::mmd_control,
       Law::xavier},
      {{"random-label", "Pondenkandath et al. 2018: pre-trained on labels drawn anew for every batch", true,
        random_label_options, false},
       MethodKind::random_label,
       Law::xavier}};
  return all;
}

const MethodEntry& method_entry(std::string_view name) {
  std::string known;
  for (const MethodEntry& e : method_entries()) {
    if (e.info.name == name) return e;
    known += (known.empty() ? "" : ", ") + e.info.name;
  }
  throw Error(ErrorCode::usage, fmt::format("unknown method '{}': known are {}", name, known));
}

}  // namespace kindling
