// From scatter to the scores that candidates compete with.
#pragma once

#include <kindling/ibci.h>

#include <vector>

#include "methods/class_moments.h"

namespace kindling {

struct IbciScores {
  std::vector<double> input;   ///< IIM of every candidate, unnormalised (eq. 8)
  std::vector<double> target;  ///< TIE of every candidate, unnormalised (eq. 9)
  std::vector<float> score;    ///< alpha-weighted sum of the normalised criteria, shifted so that none is negative
};

/// Each criterion is divided by its Euclidean norm over the candidates (a criterion that is 0 everywhere stays 0).
/// Throws Error{numerical} naming layer and candidate when a criterion is not finite.
IbciScores ibci_scores(const LayerScatter& scatter, const IbciOptions& options, double alpha, const std::string& layer);

}  // namespace kindling
