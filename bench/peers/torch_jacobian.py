#!/usr/bin/env python3
"""Row norms of Jacobians in PyTorch, on the rows of bench/methods/jacobian_row_norms_bench.cpp.

    torch-venv/bin/python bench/peers/torch_jacobian.py > torch_jacobian.json     (installation: see torch_bench.py)
    kindling-bench --interleave --filter jacobian_ --merge torch_jacobian.json

`torch_bmm` is the sweep written by hand as products of all rows with W and masks; `torch_func` is
torch.func.vmap(jacrev) with respect to additive terms at every layer's pre-activations, which is one sweep too. Both
compiled as well. Gradients go by autograd through the hand-written sweep. Answers are checked against float64 first.
"""

import argparse
import json
import math
import statistics
import sys
import time

import torch

SHAPES = [((784, 256, 256, 256, 10), 512), ((784, 512, 256, 128, 10), 512), ((784, 100, 100, 2), 512)]


def problem(widths, batch):
    g = torch.Generator().manual_seed(1)
    uniform = lambda scale, *shape: (torch.rand(*shape, generator=g) * 2 - 1) * scale
    w = [uniform(math.sqrt(6 / k), m, k) for k, m in zip(widths, widths[1:])]
    b = [uniform(0.1, m) for m in widths[1:]]
    return w, b, uniform(1, batch, widths[0])


def by_hand(w, b, x):
    z, masks = x, []
    for weight, bias in zip(w[:-1], b[:-1]):
        u = torch.nn.functional.linear(z, weight, bias)
        masks.append((u > 0).to(u.dtype))
        z = torch.relu(u)
    d = w[-1].shape[0]
    v = w[-1].unsqueeze(0) * masks[-1].unsqueeze(1) if masks else w[-1].expand(x.shape[0], -1, -1)
    norms = [v.norm(dim=2)]
    for l in range(len(w) - 2, -1, -1):
        v = torch.matmul(v.reshape(-1, v.shape[2]), w[l]).view(x.shape[0], d, -1)
        if l > 0:
            v = v * masks[l - 1].unsqueeze(1)
        norms.append(v.norm(dim=2))
    return torch.stack(norms[::-1])


def by_func(w, b, x):
    def logits(sample, terms):
        z = sample + terms[0]
        for l, (weight, bias) in enumerate(zip(w, b)):
            u = weight @ z + bias
            if l + 1 == len(w):
                return u
            z = torch.relu(u + terms[l + 1])

    zeros = tuple(torch.zeros(weight.shape[1], dtype=x.dtype) for weight in w)
    jacobians = torch.func.vmap(torch.func.jacrev(logits, argnums=1), in_dims=(0, None))(x, zeros)
    return torch.stack([j.norm(dim=2) for j in jacobians])


def gradient_by_hand(w, b, x):
    w = [p.detach().requires_grad_() for p in w]
    norms = by_hand(w, b, x)
    ((1 - norms) ** 2).sum().div(x.shape[0]).backward()
    return [p.grad for p in w]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, torch.get_num_threads()])
    parser.add_argument("--no-compile", action="store_true")
    arguments = parser.parse_args()
    rows = []
    for widths, batch in SHAPES:
        w, b, x = problem(widths, batch)
        exact = by_hand([p.double() for p in w], [p.double() for p in b], x.double())
        slopes = gradient_by_hand([p.double() for p in w], [p.double() for p in b], x.double())
        for threads in sorted(set(arguments.threads)):
            torch.set_num_threads(threads)
            contestants = []
            for kernel, name, function in (("jacobian_row_norms", "torch_bmm", by_hand),
                                           ("jacobian_row_norms", "torch_func", by_func),
                                           ("jacobian_norm_gradient", "torch_bmm", gradient_by_hand)):
                for compiled in (False, True):
                    if compiled and (arguments.no_compile or kernel == "jacobian_norm_gradient"):
                        continue
                    row = {"kernel": kernel, "contestant": name + ("_compile" if compiled else ""), "peer": True,
                           "shape": "-".join(map(str, widths)) + f"x{batch}", "threads": threads}
                    rows.append(row)
                    try:
                        run = torch.compile(function, dynamic=False) if compiled else function
                        with torch.set_grad_enabled(kernel == "jacobian_norm_gradient"):
                            found = run(w, b, x)
                        if kernel == "jacobian_row_norms":
                            if not torch.allclose(found.double(), exact, rtol=1e-4, atol=1e-6):
                                raise AssertionError("wrong answer")
                        elif not all(torch.allclose(f.double(), s, rtol=1e-3, atol=1e-4) for f, s in zip(found, slopes)):
                            raise AssertionError("wrong answer")
                        contestants.append((row, run, []))
                    except Exception as error:  # the row says so
                        row["error"] = " ".join(str(error).split())[:300]
            for round_number in range(arguments.rounds + 1):
                for row, run, times in contestants:
                    with torch.set_grad_enabled(row["kernel"] == "jacobian_norm_gradient"):
                        start = time.perf_counter()
                        run(w, b, x)
                        if round_number:
                            times.append(time.perf_counter() - start)
            for row, _, times in contestants:
                row |= {"median_seconds": statistics.median(times), "best_seconds": min(times)}
            torch.compiler.reset()
            for row in rows[-5:]:
                print(row["kernel"], row["contestant"], row["shape"], row["threads"],
                      row.get("error") or f"{1e3 * row['median_seconds']:.1f} ms", file=sys.stderr, flush=True)
    json.dump({"context": {"torch": torch.__version__}, "rows": rows}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
