#!/usr/bin/env python3
"""One step of MINE in PyTorch, on the rows of bench/methods/mine_step_bench.cpp.

    torch-venv/bin/python bench/peers/torch_mine.py > torch_mine.json     (installation: see torch_bench.py)
    kindling-bench --interleave --filter '^mine_step/' --merge torch_mine.json

A critic of 2 x 1500 leaky ReLU on concatenated arguments, joint and product pairs as one batch of twice the size, the
Donsker-Varadhan bound with logsumexp, autograd, Adam (fused). `torch` is eager; `torch_compile` compiles loss and
gradient. The bound is checked against float64 first.
"""

import argparse
import json
import math
import statistics
import sys
import time

import torch

SHAPES = [(784, 512, 100), (784, 512, 500), (512, 512, 100)]


def problem(a, b, batch):
    torch.manual_seed(1)
    critic = torch.nn.Sequential(torch.nn.Linear(a + b, 1500), torch.nn.LeakyReLU(0.2), torch.nn.Linear(1500, 1500),
                                 torch.nn.LeakyReLU(0.2), torch.nn.Linear(1500, 1))
    return critic, torch.randn(batch, a), torch.randn(2 * batch, b)


def loss_of(critic, first, second):
    n = first.shape[0]
    scores = critic(torch.cat([torch.cat([first, first]), second], dim=1))[:, 0]
    return torch.logsumexp(scores[n:], 0) - math.log(n) - scores[:n].mean()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, torch.get_num_threads()])
    parser.add_argument("--no-compile", action="store_true")
    arguments = parser.parse_args()
    rows = []
    for a, b, batch in SHAPES:
        for threads in sorted(set(arguments.threads)):
            torch.set_num_threads(threads)
            contestants = []
            for name in ("torch",) if arguments.no_compile else ("torch", "torch_compile"):
                row = {"kernel": "mine_step", "contestant": name, "peer": True, "shape": f"{a}x{b}x{batch}",
                       "threads": threads}
                rows.append(row)
                try:
                    critic, first, second = problem(a, b, batch)
                    optimizer = torch.optim.Adam(critic.parameters(), lr=1e-4, fused=True)
                    loss = torch.compile(loss_of, dynamic=False) if name == "torch_compile" else loss_of
                    exact = loss_of(critic.double(), first.double(), second.double()).item()
                    critic.float()

                    def step(critic=critic, first=first, second=second, optimizer=optimizer, loss=loss):
                        optimizer.zero_grad(set_to_none=True)
                        value = loss(critic, first, second)
                        value.backward()
                        optimizer.step()
                        return value

                    if abs(step().item() - exact) > 1e-4:
                        raise AssertionError("wrong answer")
                    contestants.append((row, step, []))
                except Exception as error:  # the row says so
                    row["error"] = " ".join(str(error).split())[:300]
            for round_number in range(arguments.rounds + 1):
                for row, step, times in contestants:
                    start = time.perf_counter()
                    step()
                    if round_number:
                        times.append(time.perf_counter() - start)
            for row, _, times in contestants:
                row |= {"median_seconds": statistics.median(times), "best_seconds": min(times)}
                print(row["contestant"], row["shape"], threads, f"{1e3 * row['median_seconds']:.1f} ms", file=sys.stderr,
                      flush=True)
            torch.compiler.reset()
    json.dump({"context": {"torch": torch.__version__}, "rows": rows}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
