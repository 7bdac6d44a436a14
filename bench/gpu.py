#!/usr/bin/env python3
"""The CUDA row on a GPU, beside cuBLAS and PyTorch. It reports nothing where there is no GPU.

    torch-venv/bin/python bench/gpu.py --bench build/release/bin/kindling-bench > gpu.jsonl

Needs an environment with PyTorch for CUDA and a kindling-bench that was built with the row cuda. For every shape of
bench/shapes/dense.h a line of JSON: kindling's whole call (operands copied to the device and back, as every call does at
present), PyTorch's linear layer with the same copies, and cuBLAS alone (torch.addmm in float32, tf32 off) on operands that
already lie on the device. Each of PyTorch's answers is checked against float64 before it is timed; kindling-bench checks its own.
"""

import argparse
import ctypes
import json
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

SHAPES = Path(__file__).resolve().parent / "shapes" / "dense.h"


class NoGpu(Exception):
    pass


def device_count():
    """By the driver itself, before any package is asked."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        raise NoGpu("no CUDA driver (libcuda.so.1) on this machine") from None
    if driver.cuInit(0) != 0:
        raise NoGpu("the CUDA driver does not start")
    count = ctypes.c_int()
    if driver.cuDeviceGetCount(ctypes.byref(count)) != 0 or count.value == 0:
        raise NoGpu("the CUDA driver knows no device")
    return count.value


def timed(function, wait, samples=15):
    function()
    wait()
    seconds = []
    for _ in range(samples):
        start = time.perf_counter()
        function()
        wait()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def peers(torch, n, k, m):
    """Rows of PyTorch with copies, and of cuBLAS on the device."""
    generator = torch.Generator().manual_seed(1)
    x, w, b = (torch.randn(*size, generator=generator) for size in ((n, k), (m, k), (m,)))
    device = [t.cuda() for t in (x, w, b)]
    exact = x.double() @ w.double().T + b.double()
    scale = x.double().abs() @ w.double().abs().T + b.double().abs()
    for found in (torch.nn.functional.linear(*device).cpu(), torch.addmm(device[2], device[0], device[1].T).cpu()):
        if not bool(((found.double() - exact).abs() <= 4 * (k ** 0.5 + 2) * torch.finfo(torch.float32).eps * scale).all()):
            raise SystemExit(f"gpu: PyTorch's answer for {n}x{k}x{m} is wrong; nothing is reported")
    wait = torch.cuda.synchronize
    yield "torch_with_copies", timed(lambda: torch.nn.functional.linear(x.cuda(), w.cuda(), b.cuda()).cpu(), wait)
    yield "cublas_on_device", timed(lambda: torch.addmm(device[2], device[0], device[1].T), wait)


def main():
    parser = argparse.ArgumentParser(prog="gpu.py", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--bench", default="build/release/bin/kindling-bench", help="kindling-bench with the row cuda")
    options = parser.parse_args()
    device_count()
    try:
        import torch
    except ImportError:
        raise NoGpu("this Python has no torch to compare with (pip install torch)") from None
    if not torch.cuda.is_available():
        raise NoGpu("this PyTorch sees no GPU; it must be one for CUDA")
    torch.backends.cuda.matmul.allow_tf32 = False
    done = subprocess.run([options.bench, "--interleave", "--json", "--no-peers", "--filter", "^dense_forward/", "--threads", "1",
                           "--targets", "cuda"], capture_output=True, text=True)
    if done.returncode != 0:
        raise NoGpu(f"{options.bench} cannot time the row cuda: {done.stderr.strip()[-500:]}")
    gpu = torch.cuda.get_device_name(0)
    for row in json.loads(done.stdout)["rows"]:
        if row["contestant"] == "cuda":
            print(json.dumps({"gpu": gpu, "contestant": "kindling_with_copies", **row}))
    for n, k, m in (tuple(map(int, s)) for s in re.findall(r"DenseShape\{(\d+), (\d+), (\d+)", SHAPES.read_text())):
        for contestant, seconds in peers(torch, n, k, m):
            print(json.dumps({"gpu": gpu, "contestant": contestant, "kernel": "dense_forward", "shape": f"{n}x{k}x{m}",
                              "median_seconds": seconds, "gflops": 2 * n * k * m / seconds / 1e9}))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except NoGpu as error:
        print(f"gpu: nothing is reported: {error}", file=sys.stderr)
        sys.exit(2)
