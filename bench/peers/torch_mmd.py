#!/usr/bin/env python3
"""A step of initialization learned by MMD in PyTorch, on the rows of bench/methods/mmd_step_bench.cpp.

    torch-venv/bin/python bench/peers/torch_mmd.py > torch_mmd.json     (installation: see torch_bench.py)
    kindling-bench --interleave --filter mmd_step --merge torch_mmd.json

The perturbed networks are stacked: torch.baddbmm over S copies of W + sigma randn, one softmax, pairwise kernels of
all inputs at once, Jacobians of all rows by products with W and masks, gradients by autograd, Adam fused. Eager and
compiled. Values are checked against float64 before anything is timed.
"""

import argparse
import json
import math
import resource
import statistics
import sys
import time

import torch

WIDTHS, BATCH, SAMPLES, SCALE = (784, 256, 256, 256, 10), 50, 100, 0.5


def problem():
    g = torch.Generator().manual_seed(1)
    uniform = lambda scale, *shape: (torch.rand(*shape, generator=g) * 2 - 1) * scale
    w = [uniform(math.sqrt(6 / k), m, k) for k, m in zip(WIDTHS, WIDTHS[1:])]
    b = [uniform(0.1, m) for m in WIDTHS[1:]]
    return w, b, uniform(1, BATCH, WIDTHS[0])


def draw(w):
    return ([torch.randn(SAMPLES, *p.shape, dtype=p.dtype) * math.sqrt(SCALE / p.shape[1]) for p in w],
            [torch.randn(SAMPLES, 1, p.shape[0], dtype=p.dtype) * math.sqrt(SCALE / p.shape[0]) for p in w],
            torch.distributions.Exponential(1.0).sample((BATCH, SAMPLES, WIDTHS[-1])).to(w[0].dtype))


def loss(w, b, x, noise):
    weight_noise, bias_noise, exponentials = noise
    z = x.expand(SAMPLES, -1, -1)
    for l, (p, q) in enumerate(zip(w, b)):
        z = torch.baddbmm(q + bias_noise[l], z, (p + weight_noise[l]).transpose(1, 2))
        if l + 1 < len(w):
            z = torch.relu(z)
    p = torch.softmax(z, dim=2)
    d = p.shape[2]
    # L_uni
    u = exponentials / exponentials.sum(dim=2, keepdim=True)
    q = p.transpose(0, 1)
    square = lambda a, c: ((a * a).sum(2, keepdim=True) + (c * c).sum(2).unsqueeze(1) - 2 * a @ c.transpose(1, 2)).clamp_min(0)
    with torch.no_grad():
        pooled = torch.cat([q, u], dim=1)
        i, j = torch.triu_indices(2 * SAMPLES, 2 * SAMPLES, 1)
        gamma2 = square(pooled, pooled)[:, i, j].median(dim=1).values.view(-1, 1, 1)
    kernel = lambda a, c: torch.exp(-square(a, c) / (2 * gamma2)).mean(dim=(1, 2))
    uni = (kernel(q, q) - 2 * kernel(q, u) + kernel(u, u)).mean()
    # L_sd over each class's share of the inputs
    distance = ((p * p).sum(2, keepdim=True) - 2 * p + 1).clamp_min(1e-30).sqrt()
    nearest = distance.topk(BATCH // d, dim=1, largest=False).values.mean(dim=1)
    sd = (nearest.max(dim=1).values - 1 / math.sqrt(d)).clamp_min(0).mean()
    # L_iod
    z, masks = x, []
    for weight, bias in zip(w[:-1], b[:-1]):
        a = torch.nn.functional.linear(z, weight, bias)
        masks.append((a > 0).to(a.dtype).detach())
        z = torch.relu(a)
    v = w[-1].unsqueeze(0) * masks[-1].unsqueeze(1)
    norms = [v.norm(dim=2)]
    for l in range(len(w) - 2, -1, -1):
        v = torch.matmul(v.reshape(-1, v.shape[2]), w[l]).view(x.shape[0], d, -1)
        if l > 0:
            v = v * masks[l - 1].unsqueeze(1)
        norms.append(v.norm(dim=2))
    iod = ((1 - torch.stack(norms)) ** 2).max(dim=0).values.mean()
    return uni + 0.4 * sd + iod


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--no-compile", action="store_true")
    arguments = parser.parse_args()
    w, b, x = problem()
    noise = draw(w)
    exact = loss([p.double() for p in w], [p.double() for p in b], x.double(),
                 ([p.double() for p in noise[0]], [p.double() for p in noise[1]], noise[2].double()))
    rows = []
    shape = "-".join(map(str, WIDTHS)) + f"x{BATCH}x{SAMPLES}"
    for threads in arguments.threads:
        torch.set_num_threads(threads)
        contestants = []
        for compiled in ([False] if arguments.no_compile else [False, True]):
            p = [t.clone().requires_grad_() for t in w]
            q = [t.clone().requires_grad_() for t in b]
            optimizer = torch.optim.Adam(p + q, lr=3e-4, fused=True)
            function = torch.compile(loss, dynamic=False) if compiled else loss
            row = {"kernel": "mmd_step", "contestant": "torch_stacked" + ("_compile" if compiled else ""), "peer": True,
                   "shape": shape, "threads": threads}
            rows.append(row)

            def step(p=p, q=q, optimizer=optimizer, function=function):
                optimizer.zero_grad()
                value = function(p, q, x, draw(w))
                value.backward()
                optimizer.step()

            try:
                found = function(p, q, x, noise)
                if not torch.isclose(found.double(), exact, rtol=1e-3):
                    raise AssertionError(f"wrong answer: {found.item()}, expected {exact.item()}")
                step()
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
        torch.compiler.reset()
    for row in rows:
        print(row["kernel"], row["contestant"], row["shape"], row["threads"],
              row.get("error") or f"{1e3 * row['median_seconds']:.1f} ms", file=sys.stderr)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    json.dump({"context": {"torch": torch.__version__, "peak_memory_mib": memory}, "rows": rows}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
