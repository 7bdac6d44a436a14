#!/usr/bin/env python3
"""PyTorch, eager and compiled, on the Gram rows of kindling-bench: see torch_bench.py for how to install and run it.

Gram sums go over chunks of rows, so that the matrix of all pairs is never stored; distances by differences for few
dimensions, else by a matrix product, as the fastest of both there.
"""

import sys

import torch
import torch_bench


def squared(x, y, by_difference):
    if by_difference:
        return (x.unsqueeze(-2) - y.unsqueeze(-3)).square().sum(-1)
    product = torch.matmul(x, y.transpose(-1, -2))
    return (x.square().sum(-1, keepdim=True) + y.square().sum(-1).unsqueeze(-2) - 2 * product).clamp_min(0)


def uniform(*shape, seed):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


class GramSum:
    kernel = "gaussian_gram_sum"
    flops = 0

    def __init__(self, n, m, d):
        self.shape = f"{n}x{m}x{d}"
        self.items = n * m
        self.x, self.y = uniform(n, d, seed=31), uniform(m, d, seed=32)
        self.scale = -0.5 / (0.16 * d)
        self.by_difference = False
        self.chunk = 64

    def function(self):
        def rows(x, y):
            return torch.exp(squared(x, y, self.by_difference) * self.scale).sum(-1)

        return rows

    def arguments(self):
        return self.x, self.y

    def chunked(self, rows):
        return lambda: torch.cat([rows(x, self.y) for x in self.x.split(self.chunk)])

    def verify(self, call):
        some = slice(0, self.x.shape[0], 997)
        wanted = torch.exp(torch.cdist(self.x[some].double(), self.y.double()).square() * self.scale).sum(-1)
        torch_bench.check("row sums", call()[some], wanted, 256 * torch_bench.EPSILON * wanted)


class GramSumDifference(GramSum):
    kernel = "gaussian_gram_sum_difference"

    def __init__(self, *shape):
        super().__init__(*shape)
        self.by_difference = True


class Mmd:
    """Value and gradient with respect to u, by autograd."""

    kernel = "mmd_squared"
    flops = 0
    problems, samples, d, gamma = 50, 100, 10, 1.2

    def __init__(self):
        self.shape = f"{self.problems}x{self.samples}x{self.samples}x{self.d}"
        self.items = 3 * self.problems * self.samples**2
        self.u = uniform(self.problems, self.samples, self.d, seed=33).requires_grad_()
        self.v = uniform(self.problems, self.samples, self.d, seed=34) * 0.8

    def function(self):
        scale = -0.5 / self.gamma**2

        def value(u, v):
            def mean(a, b):
                return torch.exp(squared(a, b, False) * scale).mean((-1, -2))

            return mean(u, u) - 2 * mean(u, v) + mean(v, v)

        return value

    def arguments(self):
        return self.u, self.v

    def around(self, value):
        def step():
            self.u.grad = None
            v = value()
            v.sum().backward()
            return v.detach(), self.u.grad

        return step

    def verify(self, call):
        value, gradient = call()
        u = self.u.detach().double().requires_grad_()
        wanted = self.function()(u, self.v.double())
        wanted.sum().backward()
        torch_bench.check("value", value, wanted.detach(), torch.tensor(64 * torch_bench.EPSILON))
        torch_bench.check("gradient", gradient, u.grad, torch.tensor(64 * torch_bench.EPSILON / self.samples))


class Median:
    kernel = "pair_distance_median"
    flops = 0

    def __init__(self):
        self.shape = "50x200x10"
        self.items = 50 * 199 * 100
        self.z = torch.cat([uniform(50, 100, 10, seed=33), uniform(50, 100, 10, seed=34) * 0.8], 1)
        self.i, self.j = torch.triu_indices(200, 200, 1)

    def function(self):
        def median(z, i, j):
            return squared(z, z, False)[:, i, j].median(-1).values.sqrt()

        return median

    def arguments(self):
        return self.z, self.i, self.j

    def verify(self, call):
        wanted = torch.cdist(self.z.double(), self.z.double())[:, self.i, self.j].median(-1).values
        torch_bench.check("median", call(), wanted, 64 * torch_bench.EPSILON * wanted)


PROBLEMS = [(GramSum, s) for s in ((8192, 8192, 10), (8192, 8192, 64), (1024, 1024, 2))]
PROBLEMS += [(GramSumDifference, (8192, 8192, 10)), (Mmd, ()), (Median, ())]

if __name__ == "__main__":
    original = torch_bench.bind

    def bind(problem, compiled):
        if not isinstance(problem, GramSum):
            return original(problem, compiled)
        rows = torch.compile(problem.function(), dynamic=False) if compiled else problem.function()
        call = problem.chunked(rows)

        def without_gradient():
            with torch.no_grad():
                return call()

        return without_gradient

    torch_bench.bind = bind
    torch_bench.main(PROBLEMS)
    sys.exit(0)
