#!/usr/bin/env python3
"""Signals through a random network with anti-correlated rows in PyTorch, on the rows of
bench/methods/propagation_bench.cpp.

    torch-venv/bin/python bench/peers/torch_propagation.py > torch_propagation.json   (installation: see torch_bench.py)
    kindling-bench --interleave --filter 'propagation|correlated_rows' --merge torch_propagation.json

Weights are drawn by torch.randn and shifted by a share of each row's mean, in place; signals go through
torch.addmm and relu; lengths and overlaps are taken at the same four layers. Answers are checked against the mean-field
theory before anything is timed.
"""

import argparse
import json
import math
import statistics
import sys
import time

import torch

WIDTH, INPUTS, DEPTH, DRAWN = 2048, 1024, 20, 20
LOOK = (1, 2, 8, DEPTH)
K, BIAS_VARIANCE, WEIGHT_VARIANCE = 100, 0.1, 2.5
SHRINK = 1 - 1 / math.sqrt(1 + K)


def draw(weight, variance):
    weight.normal_()
    weight.sub_(weight.mean(1, keepdim=True), alpha=SHRINK).mul_(math.sqrt(variance / weight.shape[1]))
    return weight


def propagate(weight):
    x = torch.randn(INPUTS, WIDTH)
    seen = []
    for layer in range(1, DEPTH + 1):
        draw(weight, WEIGHT_VARIANCE)
        bias = torch.randn(WIDTH) * math.sqrt(BIAS_VARIANCE)
        h = torch.addmm(bias, x, weight.T)
        if layer in LOOK:
            q = (h * h).mean(1)
            q12 = (h[::2] * h[1::2]).mean(1)
            seen.append((q.mean().item(), (q12 / (q[::2] * q[1::2]).sqrt()).mean().item()))
        x = torch.relu_(h)
    return seen


def expected():
    kappa = K / (1 + K)
    q, c, seen = WEIGHT_VARIANCE + BIAS_VARIANCE, BIAS_VARIANCE / (WEIGHT_VARIANCE + BIAS_VARIANCE), []
    for layer in range(1, DEPTH + 1):
        if layer > 1:
            f = c / 2 + (c * math.asin(c) + math.sqrt(1 - c * c)) / math.pi
            overlap = WEIGHT_VARIANCE / 2 * (f - kappa / math.pi) * q + BIAS_VARIANCE
            q = WEIGHT_VARIANCE / 2 * (1 - kappa / math.pi) * q + BIAS_VARIANCE
            c = overlap / q
        if layer in LOOK:
            seen.append((q, c))
    return seen


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, torch.get_num_threads()])
    arguments = parser.parse_args()
    weight = torch.empty(WIDTH, WIDTH)
    with torch.no_grad():
        for (q, c), (wanted_q, wanted_c) in zip(propagate(weight), expected()):
            if abs(q / wanted_q - 1) > 0.35 or abs(c - wanted_c) > 0.1:
                raise SystemExit(f"wrong answer: length {q}, correlation {c}, expected about {wanted_q} and {wanted_c}")
        rows = []
        for threads in sorted(set(arguments.threads)):
            torch.set_num_threads(threads)
            for kernel, shape, run in (
                    ("propagation", f"{WIDTH}x{INPUTS}x{DEPTH}", lambda: propagate(weight)),
                    ("correlated_rows", f"{WIDTH}x{WIDTH}x{DRAWN}", lambda: [draw(weight, 2.0) for _ in range(DRAWN)])):
                times = []
                for round_number in range(arguments.rounds + 1):
                    start = time.perf_counter()
                    run()
                    if round_number:
                        times.append(time.perf_counter() - start)
                rows.append({"kernel": kernel, "contestant": "torch_eager", "peer": True, "shape": shape,
                             "threads": threads, "median_seconds": statistics.median(times), "best_seconds": min(times)})
                print(kernel, threads, f"{1e3 * statistics.median(times):.1f} ms", file=sys.stderr, flush=True)
    json.dump({"context": {"torch": torch.__version__}, "rows": rows}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
