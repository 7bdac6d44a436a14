#!/usr/bin/env python3
"""The neuron campaign in PyTorch, vectorised as well as a list of tensor operations allows, on the rows of
bench/methods/campaign_bench.cpp.

    torch-venv/bin/python bench/peers/torch_campaign.py > torch_campaign.json     (installation: see torch_bench.py)
    kindling-bench --interleave --filter select_campaign --merge torch_campaign.json

Two ways, both a pivoted Cholesky factorisation whose residual norms are kept up to date: `torch_gram` forms the candidates'
Gram matrix first, `torch_columns` computes the one column a step needs. The first steps of each are checked against float64.
"""

import argparse
import json
import statistics
import sys
import time

import torch

SHAPES = [(2560, 784, 512), (5120, 2048, 1024)]


def scores_of_kind(kind, total):
    generator = torch.Generator().manual_seed(2)
    if kind == "uniform":
        return torch.rand(total, generator=generator)
    if kind == "close":
        return 0.9 + 0.2 * torch.rand(total, generator=generator)
    return torch.ones(total)


def pivoted_cholesky(scores, count, column):
    """column(p): inner products of all unit candidates with candidate p."""
    total = scores.numel()
    factor = torch.empty(count, total)
    squared = torch.ones(total)
    weight = scores.clone()
    chosen = torch.empty(count, dtype=torch.long)
    for t in range(count):
        pivot = torch.argmax(weight * squared.clamp(min=0).sqrt())
        chosen[t] = pivot
        row = factor[t]
        torch.sub(column(pivot), torch.mv(factor[:t].T, factor[:t, pivot]), out=row)
        row.div_(squared[pivot].sqrt())
        squared.addcmul_(row, row, value=-1)
        weight[pivot] = -1
    return chosen


def torch_gram(w, scores, count):
    unit = w / w.norm(dim=1, keepdim=True)
    gram = unit @ unit.T
    return pivoted_cholesky(scores, count, lambda p: gram[p])


def torch_columns(w, scores, count):
    unit = w / w.norm(dim=1, keepdim=True)
    return pivoted_cholesky(scores, count, lambda p: torch.mv(unit, unit[p]))


def verify(w, scores, chosen, steps=48):
    if len(set(chosen.tolist())) != chosen.numel():
        raise AssertionError("wrong answer: a candidate was chosen twice")
    residual = w.double() / w.double().norm(dim=1, keepdim=True)
    weight = scores.double()
    for t in range(min(steps, chosen.numel())):
        product = weight * residual.norm(dim=1)
        if product[chosen[t]] < product.max() * (1 - 1e-4):
            raise AssertionError(f"wrong answer: choice {t} is not the best")
        q = residual[chosen[t]] / residual[chosen[t]].norm()
        residual = residual - torch.outer(residual @ q, q)
        weight[chosen[t]] = -1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, torch.get_num_threads()])
    arguments = parser.parse_args()
    rows = []
    with torch.inference_mode():
        for total, width, count in SHAPES:
            w = torch.randn(total, width, generator=torch.Generator().manual_seed(1))
            for kind in ("uniform", "close", "equal"):
                scores = scores_of_kind(kind, total)
                for threads in sorted(set(arguments.threads)):
                    torch.set_num_threads(threads)
                    for call in (torch_gram, torch_columns):
                        row = {"kernel": "select_campaign", "contestant": call.__name__, "peer": True,
                               "shape": f"{total}x{width}x{count}-{kind}", "threads": threads}
                        rows.append(row)
                        try:
                            verify(w, scores, call(w, scores, count))
                        except AssertionError as e:
                            row["error"] = str(e)
                            continue
                        times = []
                        for _ in range(arguments.rounds):
                            start = time.perf_counter()
                            call(w, scores, count)
                            times.append(time.perf_counter() - start)
                        row |= {"median_seconds": statistics.median(times), "best_seconds": min(times)}
                        print(f"{row['shape']} threads {threads} {call.__name__}: {1e3 * row['median_seconds']:.1f} ms", file=sys.stderr)
    json.dump({"context": {"torch": torch.__version__}, "rows": rows}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
