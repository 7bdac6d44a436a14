// Activations as epilogues of a contraction, and their derivatives as functions of the activation's output.
#pragma once

#include <limits>
#include <map>
#include <string>

#include "Halide.h"

namespace kindling {

/// Which formula a kernel is compiled with. `slope` covers every piecewise-linear activation by one runtime number.
enum class ActivationForm { slope, tanh, sigmoid };

inline const std::map<std::string, ActivationForm>& activation_forms() {
  static const std::map<std::string, ActivationForm> forms = {
      {"slope", ActivationForm::slope}, {"tanh", ActivationForm::tanh}, {"sigmoid", ActivationForm::sigmoid}};
  return forms;
}

/// e^-x for x >= 0: at most 2 ulp off, exactly 0 from x = 87 on, so that no infinity is ever formed. NaN stays NaN.
inline Halide::Expr exp_of_minus(Halide::Expr x) {
  using namespace Halide;
  Expr t = select(x > 87.0F, -87.0F, -x);  // a comparison, since min and max may drop a NaN
  Expr n = round(t * 1.44269504F);
  Expr r = t - n * 0.693359375F + n * 2.12194440e-4F;  // ln 2 in two parts: the first is exact in few bits
  // (e^r - 1) / r on |r| <= ln 2 / 2, weighted least squares towards equal relative error (2e-9).
  Expr p = 1.384360199e-3F;
  for (float c : {8.374184930e-3F, 4.166800434e-2F, 1.666643092e-1F, 4.999999419e-1F, 1.0F}) p = p * r + c;
  Expr power = reinterpret<float>((cast<int32_t>(n) + 127) << 23);
  return select(x > 87.0F, 0.0F, (p * r + 1.0F) * power);
}

/// 1 / (1 + e^-z): at most 4 ulp off; 0 and 1 at -inf and +inf; NaN stays NaN.
inline Halide::Expr sigmoid(Halide::Expr z) {
  using namespace Halide;
  Expr t = exp_of_minus(abs(z));
  return select(z < 0.0F, t, 1.0F) / (1.0F + t);
}

/// tanh z: at most 4 ulp off; -1 and 1 at -inf and +inf; NaN stays NaN. Near zero (1 - t) / (1 + t) cancels, so
/// |z| < 0.56 takes z + z^3 q(z^2), q fitted to (tanh z - z) / z^3 (relative error of the result 1.3e-9).
inline Halide::Expr tanh_own(Halide::Expr z) {
  using namespace Halide;
  Expr s = z * z;
  Expr q = -6.198718203e-3F;
  for (float c : {2.102054942e-2F, -5.384051721e-2F, 1.333248053e-1F, -3.333331468e-1F}) q = q * s + c;
  Expr t = exp_of_minus(2.0F * abs(z));
  Expr far = (1.0F - t) / (1.0F + t);
  return select(abs(z) < 0.56F, z + z * s * q, select(z < 0.0F, -far, far));
}

/// z > 0 ? z : slope z. A ReLU (slope 0) maps -inf to 0 and not to 0 * inf: its negative arguments are lifted to 0
/// first, by a bound that is below everything for other slopes. NaN stays NaN: the comparison is strict because it
/// would become a maximum otherwise, which gives the bound for NaN.
inline Halide::Expr piecewise_linear(Halide::Expr z, Halide::Expr slope) {
  using namespace Halide;
  const Expr bound = select(slope == 0.0F, 0.0F, -std::numeric_limits<float>::infinity());
  return select(z > 0.0F, z, slope * select(strict_float(z < bound), bound, z));
}

inline Halide::Expr activate(ActivationForm form, Halide::Expr z, Halide::Expr slope) {
  if (form == ActivationForm::tanh) return tanh_own(z);
  if (form == ActivationForm::sigmoid) return sigmoid(z);
  return piecewise_linear(z, slope);
}

/// f'(z) * gradient, given y = f(z). At a kink (y = 0) the derivative is that of the negative side; a NaN in y stays.
inline Halide::Expr through_derivative(ActivationForm form, Halide::Expr y, Halide::Expr slope, Halide::Expr gradient) {
  using namespace Halide;
  if (form == ActivationForm::tanh) return (1.0F - y * y) * gradient;
  if (form == ActivationForm::sigmoid) return y * (1.0F - y) * gradient;
  return select(is_nan(y), y, select(y > 0.0F, gradient, slope * gradient));
}

}  // namespace kindling
