"""PyTorch on the rows of kindling-bench that are passes over a matrix or a vector: steps of optimisers, losses, norms,
dropout, random numbers. torch_layers.py runs them.
"""

import math

import torch
import torch_bench

UNIT = torch_bench.EPSILON / 2  # most that one rounding does


def uniform(*shape, seed):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


class Step:
    """A fused step of torch.optim from a state of its own; lr is tiny while the clock runs."""

    flops = 0
    states = ()

    def __init__(self, count):
        self.shape = str(count)
        self.p = torch.nn.Parameter(torch.empty(count))
        self.p.grad = uniform(count, seed=71)
        self.initial = uniform(count, seed=72)
        self.initial_states = uniform(count, seed=73), uniform(count, seed=74).square()
        self.optimizer = self.make_optimizer()
        self.optimizer.step()  # makes the state

    def function(self):
        return self.optimizer.step

    def arguments(self):
        return ()

    def verify(self, call):
        group, state = self.optimizer.param_groups[0], self.optimizer.state[self.p]
        with torch.no_grad():
            self.p.copy_(self.initial)
            for name, initial in zip(self.states, self.initial_states):
                state[name].copy_(initial)
            if "step" in state:
                state["step"].fill_(9)
        group["lr"] = 0.5
        call()
        group["lr"] = 1e-12
        self.compare(self.p.detach(), [state[name] for name in self.states], self.p.grad.double(),
                     self.initial.double(), [s.double() for s in self.initial_states])


class SgdStep(Step):
    kernel = "sgd_step"

    def make_optimizer(self):
        return torch.optim.SGD([self.p], lr=1e-12, fused=True)

    def compare(self, p, states, g, start, initial):
        wanted = start - 0.5 * g
        torch_bench.check("parameters", p, wanted, UNIT * (0.5 * g.abs() + wanted.abs()))


class MomentumStep(Step):
    kernel = "momentum_step"
    states = ("momentum_buffer",)

    def make_optimizer(self):
        return torch.optim.SGD([self.p], lr=1e-12, momentum=0.9, fused=True)

    def compare(self, p, states, g, start, initial):
        kept = 0.9 * initial[0]
        v = kept + g
        off = UNIT * (2 * kept.abs() + v.abs())  # 0.9 as a float, too
        torch_bench.check("velocity", states[0], v, off)
        wanted = start - 0.5 * v
        torch_bench.check("parameters", p, wanted, 0.5 * off + UNIT * (0.5 * v.abs() + wanted.abs()))


class AdamStep(Step):
    kernel = "adam_step"
    states = ("exp_avg", "exp_avg_sq")

    def make_optimizer(self):
        return torch.optim.Adam([self.p], lr=1e-12, fused=True)

    def compare(self, p, states, g, start, initial):
        # Coefficients are rounded to floats, and 1 - beta2 may be made of one: off by UNIT / (1 - beta2) of itself.
        kept, fresh = 0.9 * initial[0], 0.1 * g
        m, s = kept + fresh, 0.999 * initial[1] + 0.001 * g.square()
        m_off = UNIT * (2 * kept.abs() + 10 * fresh.abs() + m.abs())
        s_off = UNIT * (5 * s + 1000 * 0.001 * g.square())
        torch_bench.check("mean", states[0], m, m_off)
        torch_bench.check("mean square", states[1], s, s_off)
        divisor = (s / (1 - 0.999**10)).sqrt() + 1e-8
        change = 0.5 / (1 - 0.9**10) * m / divisor
        wanted = start - change
        off = (m_off / m.abs() + s_off / s / 2 + 8 * UNIT) * change.abs() + UNIT * wanted.abs()
        torch_bench.check("parameters", p, wanted, off)


class Matrix:
    flops = 0

    def __init__(self, rows, cols):
        self.shape = f"{rows}x{cols}"
        self.x, self.y = uniform(rows, cols, seed=81), uniform(rows, cols, seed=82)

    def function(self):
        return self.apply

    def arguments(self):
        return self.x, self.y

    def verify(self, call):
        self.compare(call(), self.x.double(), self.y.double())


class SquaredError(Matrix):
    kernel = "squared_error"

    @staticmethod
    def apply(y, target):
        off = y - target
        return off.square().mean(1), off * (2 / off.numel())

    def compare(self, found, x, y):
        loss, gradient = self.apply(x, y)
        torch_bench.check("loss", found[0], loss, torch_bench.rounding(x.shape[1]) * loss)
        torch_bench.check("gradient", found[1], gradient, 4 * UNIT * gradient.abs())


class TanhGradient(Matrix):
    kernel = "activation_gradient"

    @staticmethod
    def apply(y, dy):
        return torch.ops.aten.tanh_backward(dy, y)

    def compare(self, found, x, y):
        derivative = 1 - x.square()
        torch_bench.check("dz", found, derivative * y, UNIT * y.abs() * (1 + derivative))


class RowNorms(Matrix):
    kernel = "row_norms"

    @staticmethod
    def apply(x, _):
        return torch.linalg.vector_norm(x, dim=1)

    def compare(self, found, x, _):
        wanted = x.square().sum(1).sqrt()
        torch_bench.check("norms", found, wanted, torch_bench.rounding(x.shape[1]) * wanted / 2)


class RowDots(Matrix):
    kernel = "row_dots"

    @staticmethod
    def apply(x, y):
        return torch.linalg.vecdot(x, y)

    def compare(self, found, x, y):
        torch_bench.check("dots", found, (x * y).sum(1), torch_bench.rounding(x.shape[1]) * (x * y).abs().sum(1))


class Standardize(Matrix):
    kernel = "standardize"

    def arguments(self):
        return self.x, self.y[0], self.y[1]

    @staticmethod
    def apply(x, mean, inverse_std):
        return (x - mean) * inverse_std

    def compare(self, found, x, y):
        wanted = self.apply(x, y[0], y[1])
        torch_bench.check("y", found, wanted, 2 * UNIT * wanted.abs())


class Dropout(Matrix):
    kernel = "dropout"
    rate = 0.2

    def apply(self, x, _):
        return torch.nn.functional.dropout(x, self.rate, training=True)

    def compare(self, found, x, _):
        dropped = found == 0
        wanted = torch.where(dropped, 0.0, x / (1 - self.rate))
        torch_bench.check("y", found, wanted, 2 * UNIT * wanted.abs())
        deviation = math.sqrt(self.rate * (1 - self.rate) / x.numel())
        torch_bench.check("share of elements dropped", dropped.double().mean(), self.rate, 6 * deviation)


class Draws:
    """Mean and variance of independent draws lie within six standard errors."""

    flops = 0

    def __init__(self, *shape):
        self.shape = "x".join(map(str, shape))
        self.items = math.prod(shape)
        self.out = torch.empty(*shape)

    def function(self):
        return self.apply

    def arguments(self):
        return (self.out,)

    def verify(self, call):
        self.out.fill_(math.nan)
        draws = call().double()
        mean, variance, kurtosis = self.law
        n = draws.numel()
        torch_bench.check("mean", draws.mean(), mean, 6 * math.sqrt(variance / n))
        spread = 6 * variance * math.sqrt((kurtosis - 1) / n)
        torch_bench.check("variance", (draws - mean).square().mean(), variance, spread)


class Uniform(Draws):
    kernel, law = "philox_uniform", (0, 1 / 3, 1.8)

    @staticmethod
    def apply(out):
        return out.uniform_(-1, 1)


class Exponential(Draws):
    kernel, law = "philox_exponential", (1, 1, 9)

    @staticmethod
    def apply(out):
        return out.exponential_()


class Beta21(Draws):
    kernel, law = "philox_beta21", (2 / 3, 1 / 18, 2.4)

    @staticmethod
    def apply(out):
        return out.uniform_().sqrt_()


class Simplex(Draws):
    kernel = "philox_simplex"

    @staticmethod
    def apply(out):
        out.exponential_()
        return out.div_(out.sum(1, keepdim=True))

    def verify(self, call):
        self.out.fill_(math.nan)
        draws = call().double()
        rows, d = draws.shape
        torch_bench.check("sums", draws.sum(1), 1, d * torch_bench.EPSILON)
        wanted = 2 / (d + 1)  # of Dirichlet(1, ..., 1), whose sum of squares deviates by less than its mean
        torch_bench.check("mean sum of squares", draws.square().sum(1).mean(), wanted, 6 * wanted / math.sqrt(rows))


PROBLEMS = [(make, (1_000_000,)) for make in (SgdStep, MomentumStep, AdamStep)]
PROBLEMS += [(SquaredError, (1000, 100)), (TanhGradient, (1000, 512)), (RowNorms, (1024, 2048)),
             (RowDots, (1024, 2048)), (Standardize, (1000, 784)), (Dropout, (1000, 512))]
PROBLEMS += [(make, (10_000_000,)) for make in (Uniform, Exponential, Beta21)] + [(Simplex, (100_000, 10))]
