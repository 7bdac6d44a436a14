#!/usr/bin/env python3
"""What ptxas makes of the kernels of the CUDA row: registers, occupancy, the share of multiply-adds, and an estimate.

    ./dev gpu                       kernels whose inner loop is multiply-adds, on sm_80, sm_90 and sm_100
    ./dev gpu --all                 every kernel
    ./dev gpu dense_forward --json
    ./dev gpu --roofline            every kernel's estimate at one shape (hardware/roofline.py); nothing is compiled

For each kernel the entry with the heaviest inner loop is shown: its registers, shared memory, spills, the share of a
multiprocessor's threads that its registers allow, the share of multiply-adds (FFMA) among the instructions of that loop.

The estimates are a roofline and nothing was measured: a product of 4096 x 1024 by 1024 x 1024 takes the longer of its
multiply-adds at the GPU's float32 rate times that share (an instruction that is none takes a slot from one that is), and its
operands, once packed and read again, and its result at the GPU's memory rate. Data sheets: A100 19.5 TFLOP/s, 1.555 TB/s; H100
(SXM) 66.9 TFLOP/s, 3.35 TB/s. Kernels that are no products have the time of --roofline instead.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cross
import ptx
import roofline
from mca import facts_of, generators
from roofline import GPUS
from rows import ROOT, HardwareError, row_named

ARCHITECTURES = ["sm_80", "sm_90", "sm_100"]
BATCH, DEPTH, WIDTH = 4096, 1024, 1024
THREADS = 128  # of a block, hardware.h


def estimate(share, flops, bandwidth):
    """(rate in TFLOP/s, share of the GPU's) of the product above."""
    operations = 2 * BATCH * DEPTH * WIDTH
    operands = 4 * (BATCH * DEPTH + DEPTH * WIDTH)
    seconds = max(operations / (flops * share), (3 * operands + 4 * BATCH * WIDTH) / bandwidth)
    return operations / seconds / 1e12, operations / seconds / flops


def object_of(kernel, row, build, folder):
    program, (dash_g, generator, *parameters) = generators()[kernel]
    facts = facts_of(kernel, row.name, (ROOT / "cmake" / "tuning.cmake").read_text())
    done = subprocess.run([str(build / "generators" / program), dash_g, generator, "-f", kernel, "-n", kernel, "-e", "object", "-o",
                           folder, f"target={row.triple}-no_runtime-user_context", *parameters],
                          env={**os.environ, **({"KINDLING_FACTS": facts} if facts else {})}, capture_output=True, text=True)
    if done.returncode != 0:
        raise HardwareError(f"{kernel}: {done.stderr[-500:]}")
    return Path(folder, f"{kernel}.o")


def measure(kernel, row, build, ptxas, nvdisasm):
    """A dictionary per architecture."""
    with tempfile.TemporaryDirectory() as folder:
        modules = ptx.embedded_ptx(object_of(kernel, row, build, folder))
    found = []
    for architecture in ARCHITECTURES:
        best = None
        for module in modules:
            entries, sass = ptx.assemble(ptxas, module, architecture, nvdisasm)
            codes = dict(re.findall(r"^\.text\.(\S+?):\n(.*?)(?=^\s*\.section|\Z)", sass, re.M | re.S))
            for entry in entries:
                multiply_adds, instructions, share = ptx.multiply_add_loop(codes.get(entry["name"], ""))
                line = {"kernel": kernel, "architecture": architecture, "entries": len(entries), "registers": entry["registers"],
                        "shared": entry["shared"], "stack": entry["stack"],
                        "spills": max(e["spill_stores"] + e["spill_loads"] for e in entries),
                        "occupancy": round(ptx.occupancy(architecture, entry["registers"], entry["shared"], THREADS), 3),
                        "multiply_adds": multiply_adds, "instructions": instructions, "ffma_share": round(share, 3)}
                # Where no loop multiplies and adds, the entry that takes the most of a multiprocessor.
                if best is None or (multiply_adds, entry["registers"]) > (best["multiply_adds"], best["registers"]):
                    best = line
        found.append(best)
    return found


def main():
    parser = argparse.ArgumentParser(prog="./dev gpu", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("kernels", nargs="*")
    parser.add_argument("--all", action="store_true", help="also kernels that are no products")
    parser.add_argument("--json", action="store_true", help="a line a kernel and architecture")
    parser.add_argument("--build", default="", help="folder of the build whose generator programs are used")
    parser.add_argument("--roofline", action="store_true", help="only the estimates")
    options = parser.parse_args()
    for kernel in options.kernels:
        if kernel not in generators():
            raise HardwareError(f"unknown kernel '{kernel}'; kernels stand in generators/kernels.cmake")
    if options.roofline:
        print(roofline.table(options.kernels or generators()))
        return 0
    ptxas, nvdisasm = ptx.find_tool("ptxas"), ptx.find_tool("nvdisasm")
    if ptxas is None or nvdisasm is None:
        raise HardwareError("there is no ptxas or no nvdisasm: a CUDA toolkit has them, and "
                            ".venv/bin/pip install nvidia-cuda-nvcc nvidia-cuda-nvdisasm")
    build = Path(options.build) if options.build else cross.native_build(os.environ.get("PRESET", "release"), ["kindling_generators"])
    row = row_named("cuda")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        groups = list(pool.map(lambda kernel: measure(kernel, row, build, ptxas, nvdisasm), options.kernels or generators()))
    shown = [group for group in groups if options.all or options.kernels or group[0]["multiply_adds"] >= 16]
    if options.json:
        for group in shown:
            for line in group:
                print(json.dumps(line))
        return 0
    print("| kernel | registers | shared | spills | occupancy | FFMA share | " + " | ".join(f"{g}, estimate" for g in GPUS) + " |")
    print("| --- |" + " --- |" * 5 + " ---: |" * len(GPUS))
    for group in shown:
        by = {line["architecture"]: line for line in group}
        each = lambda key, form="{}": " / ".join(form.format(line[key]) for line in group)
        rates = []
        kernel = group[0]["kernel"]
        for gpu, (architecture, flops, bandwidth) in GPUS.items():
            if roofline.work_of(kernel)[0] < 1 and by[architecture]["multiply_adds"] >= 16:
                rates.append("{:.1f} TFLOP/s ({:.0%})".format(*estimate(by[architecture]["ffma_share"], flops, bandwidth)))
            else:  # no product of two matrices: the time of its own shape
                rates.append(roofline.shown(*roofline.estimate(kernel, gpu)))
        print(f"| {group[0]['kernel']} | {each('registers')} | {each('shared')} | {each('spills')} | {each('occupancy', '{:.0%}')} | "
              f"{each('ffma_share', '{:.2f}')} | " + " | ".join(rates) + " |")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (HardwareError, ptx.PtxError) as error:
        print(f"gpu: error: {error}", file=sys.stderr)
        sys.exit(2)
