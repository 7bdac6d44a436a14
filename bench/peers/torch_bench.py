#!/usr/bin/env python3
"""PyTorch, eager and compiled, on the rows of kindling-bench.

Install apart from the project, in an environment of its own:

    python3 -m venv torch-venv
    torch-venv/bin/pip install torch numpy

Then, on an otherwise idle machine:

    torch-venv/bin/python bench/peers/torch_bench.py > torch.json
    kindling-bench --interleave --merge torch.json

Prints the JSON rows of `kindling-bench --interleave --json`, so that the two can stand in one table. The processes are
not interleaved: compare medians only where they differ by clearly more than the machine drifts. Eager and compiled are
interleaved with each other. Each answer is checked against float64 before it is timed; a wrong one is a row with an
error. torch.compile needs a C++ compiler.
"""

import argparse
import json
import math
import os
import re
import statistics
import sys
import time
from pathlib import Path

import torch

NETS = [((784, 256, 100, 10), 100), ((784, 100, 10), 100), ((784, 32, 32, 32, 32, 10), 100), ((100,) * 10 + (10,), 32)]
SAMPLE_SECONDS = 8e-3
EPSILON = torch.finfo(torch.float32).eps


def dense_shapes():
    """The shapes of bench/shapes/dense.h, so that there is one list."""
    text = (Path(__file__).parent.parent / "shapes" / "dense.h").read_text()
    shapes = re.findall(r"DenseShape\{(\d+), (\d+), (\d+)", text)
    if not shapes:
        raise SystemExit("torch_bench: no shapes found in bench/shapes/dense.h")
    return [tuple(map(int, s)) for s in shapes]


def check(what, found, wanted, tolerance):
    off = (found.double() - wanted).abs() - tolerance
    if not bool((off <= 0).all()):
        raise AssertionError(f"wrong answer: {what} is off by {off.max().item():.2g} more than its tolerance")


def rounding(terms):
    """Tolerance per unit of sum |a b|, as in bench/reference.h."""
    return 4 * (math.sqrt(terms) + 2) * EPSILON


class DenseForward:
    kernel = "dense_forward"

    def __init__(self, n, k, m):
        self.shape = f"{n}x{k}x{m}"
        self.flops = 2 * n * k * m
        generator = torch.Generator().manual_seed(1)
        self.x = torch.rand(n, k, generator=generator) * 2 - 1
        self.w = (torch.rand(m, k, generator=generator) * 2 - 1) / math.sqrt(k)
        self.b = torch.rand(m, generator=generator) * 2 - 1

    def function(self):
        return lambda x, w, b: torch.relu(torch.nn.functional.linear(x, w, b))

    def arguments(self):
        return self.x, self.w, self.b

    def verify(self, call):
        y = call()
        x, w, b = self.x.double(), self.w.double(), self.b.double()
        size = x.abs() @ w.abs().T * rounding(self.x.shape[1]) + 2 * EPSILON * b.abs()
        check("Y", y, torch.relu(x @ w.T + b), size)


class DenseBackward:
    """Both gradients, the ReLU mask of the layer below, and the SGD step, written out as a person would."""

    kernel = "dense_backward"

    def __init__(self, n, k, m):
        self.shape = f"{n}x{k}x{m}"
        self.flops = 4 * n * k * m
        generator = torch.Generator().manual_seed(2)
        self.x = torch.relu(torch.rand(n, k, generator=generator) * 2 - 1)
        w = (torch.rand(m, k, generator=generator) * 2 - 1) / math.sqrt(k)
        self.initial = (w, torch.rand(m, generator=generator) * 2 - 1)
        self.w, self.b = (p.clone() for p in self.initial)
        self.dz = (torch.rand(n, m, generator=generator) * 2 - 1) / n
        self.rate = torch.tensor(1e-12)

    def function(self):
        def step(x, w, b, dz, rate):
            dx = torch.where(x > 0, dz @ w, 0.0)
            w.sub_(rate * (dz.T @ x))
            b.sub_(rate * dz.sum(0))
            return dx

        return step

    def arguments(self):
        return self.x, self.w, self.b, self.dz, self.rate

    def verify(self, call):
        self.rate.fill_(0.5)
        self.w.copy_(self.initial[0])
        self.b.copy_(self.initial[1])
        dx = call()
        self.rate.fill_(1e-12)
        x, dz = self.x.double(), self.dz.double()
        w, b = (p.double() for p in self.initial)
        mask = (x > 0).double()
        check("dX", dx, mask * (dz @ w), mask * (dz.abs() @ w.abs()) * rounding(dz.shape[1]))
        wanted = w - 0.5 * dz.T @ x
        size = 0.5 * dz.abs().T @ x.abs() * rounding(x.shape[0])
        check("W", self.w, wanted, size + 2 * EPSILON * (w.abs() + wanted.abs()))
        wanted = b - 0.5 * dz.sum(0)
        size = 0.5 * dz.abs().sum(0) * rounding(x.shape[0])
        check("b", self.b, wanted, size + 2 * EPSILON * (b.abs() + wanted.abs()))


class TrainingStep:
    kernel = "training_step"

    def __init__(self, widths, batch):
        self.shape = "-".join(map(str, widths)) + f"x{batch}"
        pairs = list(zip(widths, widths[1:]))
        self.flops = sum((4 if i == 0 else 6) * batch * k * m for i, (k, m) in enumerate(pairs))
        torch.manual_seed(3)
        layers = []
        for k, m in pairs:
            layers += [torch.nn.Linear(k, m), torch.nn.ReLU()]
        self.net = torch.nn.Sequential(*layers[:-1])
        self.initial = [p.detach().clone() for p in self.net.parameters()]
        self.optimizer = self.make_optimizer()
        self.x = torch.rand(batch, widths[0]) * 2 - 1
        self.y = torch.randint(widths[-1], (batch,))

    def make_optimizer(self):
        return torch.optim.SGD(self.net.parameters(), lr=1e-12)

    def function(self):
        return lambda x: self.net(x)

    def arguments(self):
        return (self.x,)

    def around(self, forward):
        """Backward and step around the (compiled) forward pass, as a training loop has them."""

        def step():
            self.optimizer.zero_grad(set_to_none=True)
            torch.nn.functional.cross_entropy(forward(), self.y).backward()
            self.optimizer.step()

        return step

    def verify(self, call):
        group = self.optimizer.param_groups[0]
        with torch.no_grad():
            for p, start in zip(self.net.parameters(), self.initial):
                p.copy_(start)
        group["lr"] = 0.5
        call()
        group["lr"] = 1e-12
        start = [p.double().requires_grad_() for p in self.initial]
        z = self.x.double()
        for i in range(0, len(start), 2):
            z = torch.nn.functional.linear(z, start[i], start[i + 1])
            z = torch.relu(z) if i + 2 < len(start) else z
        torch.nn.functional.cross_entropy(z, self.y).backward()
        for p, s in zip(self.net.parameters(), start):
            # A unit at its kink may fall on either side for one sample of the batch.
            slack = 0.5 * s.grad.abs().max() / self.x.shape[0] + 4 * EPSILON
            self.check_parameter(p, s, slack)

    def check_parameter(self, found, start, slack):
        check("a parameter", found.detach(), (start - 0.5 * start.grad).detach(), slack)


class TrainingStepAdam(TrainingStep):
    kernel = "training_step_adam"

    def make_optimizer(self):
        return torch.optim.Adam(self.net.parameters(), lr=1e-12, fused=True)

    def check_parameter(self, found, start, slack):
        """The gradient: Adam's first step is its sign, which is anybody's where the gradient is as small as its error."""
        check("a gradient", found.grad, start.grad, 2 * slack)


class Normals:
    kernel = "philox_normal"
    flops = 0

    def __init__(self, count=10_000_000):
        self.shape = str(count)
        self.items = count
        self.out = torch.empty(count)

    def function(self):
        return lambda out: out.normal_()

    def arguments(self):
        return (self.out,)

    def verify(self, call):
        call()
        n = self.items
        mean, variance = self.out.double().mean().item(), self.out.double().var().item()
        if abs(mean) > 6 / math.sqrt(n) or abs(variance - 1) > 6 * math.sqrt(2 / n):
            raise AssertionError(f"wrong answer: mean {mean}, variance {variance}")


def bind(problem, compiled):
    function = problem.function()
    if compiled:
        function = torch.compile(function, dynamic=False)
    arguments = problem.arguments()
    around = getattr(problem, "around", None)
    if around is not None:
        return around(lambda: function(*arguments))

    def call():
        with torch.no_grad():
            return function(*arguments)

    return call


def seconds(call, calls):
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls


def run(problem, threads, rounds, compiled_too):
    torch.set_num_threads(threads)
    contestants, rows = [], []
    for name, compiled in (("torch", False), ("torch_compile", True)):
        if compiled and not compiled_too:
            continue
        row = {"name": f"{problem.kernel}/{name}/{problem.shape}/threads:{threads}", "kernel": problem.kernel,
               "contestant": name, "peer": True, "shape": problem.shape, "threads": threads}
        rows.append(row)
        try:
            call = bind(problem, compiled)
            problem.verify(call)
            once = min(seconds(call, 3), seconds(call, 3))
            contestants.append((row, call, max(1, math.ceil(SAMPLE_SECONDS / once)), []))
        except Exception as error:  # a missing compiler, a wrong answer: the row says so
            row["error"] = " ".join(str(error).split())[:300]
    for round_number in range(rounds):
        order = contestants if round_number % 2 == 0 else contestants[::-1]
        for _, call, calls, samples in order:
            call()
            samples.append(seconds(call, calls))
    for row, _, _, samples in contestants:
        row["median_seconds"] = statistics.median(samples)
        row["best_seconds"] = min(samples)
        if problem.flops:
            row["flops"] = problem.flops / row["best_seconds"]
        if hasattr(problem, "items"):
            row["items"] = problem.items / row["best_seconds"]
    return rows


def main(problems=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--filter", default=".", help="only problems <kernel>/<shape> that match this expression")
    parser.add_argument("--threads", default="1,all", help="thread counts, numbers or 'all'")
    parser.add_argument("--no-compile", action="store_true", help="eager only")
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    threads = sorted({cores if t == "all" else int(t) for t in options.threads.split(",")})
    if problems is None:
        problems = [(DenseForward, s) for s in dense_shapes()] + [(DenseBackward, s) for s in dense_shapes()]
        problems += [(TrainingStep, net) for net in NETS] + [(TrainingStepAdam, ((784, 512, 512, 10), 100)), (Normals, ())]
    rows = []
    for make, arguments in problems:
        problem = None
        for count in threads:
            name = f"{make.kernel}/" + "x".join(map(str, arguments))
            if not re.search(options.filter, name):
                continue
            problem = problem or make(*arguments)
            new = run(problem, count, options.rounds, not options.no_compile)
            rows += new
            torch.compiler.reset()
            for row in new:
                outcome = row.get("error") or f"{row['median_seconds'] * 1e6:.1f} us"
                print(row["name"], outcome, file=sys.stderr, flush=True)
    context = {"torch": torch.__version__, "rounds": options.rounds}
    json.dump({"context": context, "rows": rows}, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
