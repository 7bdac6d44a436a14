#!/usr/bin/env python3
"""What the inner loops would cost on a processor that is not here: llvm-mca's predictions.

    ./dev mca znver4                       every kernel whose inner loop multiplies and adds, on the row for that processor
    ./dev mca neoverse-v2 dense_forward    one kernel
    ./dev mca --table                      all processors of the list below side by side

For each kernel the generator program writes the row's assembly; of its innermost loops (a label, straight code, a jump back)
the one with the most multiply-adds is taken, and llvm-mca (Debian's llvm-19) says how many cycles an iteration takes when it
repeats, with every load a hit in the first cache. `of peak` is the share of the processor's own multiply-add rate, measured
by the same model on independent multiply-adds of the same width. A prediction says what the instructions cost, not what the
memory behind them does: docs/hardware.md has it beside a measurement.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cross
from rows import ROOT, HardwareError, architecture, read_rows, row_named

MCA = "llvm-mca-19"
# Processor: (its row, LLVM's triple).
PROCESSORS = {
    "znver3": ("avx2", "x86_64-linux-gnu"),
    "znver4": ("avx512", "x86_64-linux-gnu"),
    "skylake-avx512": ("avx512", "x86_64-linux-gnu"),
    "sapphirerapids": ("avx512", "x86_64-linux-gnu"),
    "neoverse-v2": ("arm64", "aarch64-linux-gnu"),
    "apple-m1": ("arm64", "aarch64-linux-gnu"),
    "sifive-p670": ("rvv", "riscv64-linux-gnu"),
}
# By architecture: multiply-adds of float32 vectors, a jump with its label, and independent multiply-adds for the peak.
MULTIPLY_ADD = {"x86-64": r"\s+vfn?m(add|sub)\d+ps\s", "arm-64": r"\s+fml[as]\s+[vz]\d+\.(4s|s)\b",
                "riscv-64": r"\s+vfn?m(acc|sac|add|sub)\.v[vf]\s"}
JUMP = {"x86-64": r"\s+j[a-z]+\s+(\.L\w+)\b", "arm-64": r"\s+(?:b\.\w+|cbn?z\s+\w+,|tbn?z\s+\w+,\s*#\d+,)\s*(\.L\w+)\b",
        "riscv-64": r"\s+b[a-z]+\s+.*?(\.L\w+)\b"}


def innermost_loops(assembly, arch):
    """The bodies of the loops of straight code, as lists of lines without comments."""
    comment = r"\s*//.*" if arch == "arm-64" else r"\s*#.*"
    labels, loops, lines = {}, [], [re.sub(comment, "", line) for line in assembly.splitlines()]
    last_label = -1
    for at, line in enumerate(lines):
        label = re.match(r"(\.L\w+):", line)
        if label:
            labels[label[1]] = last_label = at
            continue
        jump = re.match(JUMP[arch], line)
        if jump and jump[1] in labels and labels[jump[1]] == last_label:
            loops.append([body for body in lines[last_label + 1:at + 1] if re.match(r"\s+[a-z]", body)])
    return loops


def hottest(assembly, arch):
    """The loop with the most multiply-adds, or nothing."""
    count = lambda loop: sum(bool(re.match(MULTIPLY_ADD[arch], line)) for line in loop)
    best = max(innermost_loops(assembly, arch), key=count, default=[])
    return (best, count(best)) if best and count(best) >= 4 else ([], 0)


def cycles(body, cpu, triple):
    """Predicted cycles of one iteration of many."""
    iterations = 200
    with tempfile.NamedTemporaryFile("w", suffix=".s") as file:
        # The rows' vectors are one register long, which RISC-V code does not say in the instruction itself.
        file.write("# LLVM-MCA-RISCV-LMUL M1\n" if triple.startswith("riscv") else "")
        file.write("loop:\n" + "\n".join(re.sub(r"\.L\w+", "loop", line) for line in body) + "\n")
        file.flush()
        attributes = ["-mattr=+v"] if triple.startswith("riscv") else []
        done = subprocess.run([MCA, f"-mtriple={triple}", f"-mcpu={cpu}", *attributes, f"-iterations={iterations}", "-json",
                               file.name], capture_output=True, text=True)
    if done.returncode != 0:
        raise HardwareError(f"{MCA} refused a loop for {cpu}: {done.stderr.strip().splitlines()[0]}")
    return json.loads(done.stdout)["CodeRegions"][0]["SummaryView"]["TotalCycles"] / iterations


def peak_bodies(body, arch):
    """Multiply-adds like those of the loop that wait for nothing, in each form that the instruction set has."""
    if arch == "x86-64":
        register = "zmm" if any("%zmm" in line for line in body) else "ymm" if any("%ymm" in line for line in body) else "xmm"
        return [[f"\tvfmadd231ps %{register}0, %{register}1, %{register}{n}" for n in range(2, 14)]]
    if arch == "arm-64":
        return [[f"\tfmla v{n}.4s, v0.4s, {other}" for n in range(2, 26)] for other in ("v1.4s", "v1.s[0]")]
    return [[f"\tvfmacc.{form} v{n}, {first}, v1" for n in range(2, 26)] for form, first in (("vv", "v0"), ("vf", "fa0"))]


def generators():
    """Kernel -> (program, arguments), from generators/kernels.cmake."""
    found = {}
    for line in (ROOT / "generators" / "kernels.cmake").read_text().splitlines():
        match = re.match(r"kindling_add_kernel\((\S+) GENERATOR (\S+) SOURCE (\S+)\.cpp(?: PARAMS (.*))?\)", line)
        if match:
            found[match[1]] = (match[3], ["-g", match[2], *(match[4] or "").split()])
    return found


def facts_of(kernel, row, text):
    """The measured facts of cmake/tuning.cmake, as the build hands them over."""
    return " ".join(facts for expression, facts in re.findall(rf'^kindling_tune\({row} "([^"]*)" ([^)]*)\)', text, re.MULTILINE)
                    if re.search(expression, kernel))


def assembly_of(kernel, row, build):
    program, (dash_g, generator, *parameters) = generators()[kernel]
    with tempfile.TemporaryDirectory() as folder:
        facts = facts_of(kernel, row.name, (ROOT / "cmake" / "tuning.cmake").read_text())
        done = subprocess.run([str(build / "generators" / program), dash_g, generator, "-f", kernel, "-n", kernel, "-e", "assembly",
                               "-o", folder, f"target={row.triple}-no_runtime-user_context", *parameters],
                              env={**os.environ, **({"KINDLING_FACTS": facts} if facts else {})}, capture_output=True, text=True)
        if done.returncode != 0:
            return None  # what kindling_compile_as is for
        return Path(folder, f"{kernel}.s").read_text()


def predict(kernel, row, cpus, build):
    """Lines of the report, one a processor; none where no inner loop multiplies and adds."""
    assembly = assembly_of(kernel, row, build)
    body, count = hottest(assembly, architecture(row.triple)) if assembly else ([], 0)
    return [price(kernel, row, cpu, body, count) for cpu in cpus] if count else []


def price(kernel, row, cpu, body, count):
    name, triple = PROCESSORS[cpu]
    arch = architecture(row.triple)
    each = cycles(body, cpu, triple) / count
    peak = min(cycles(best, cpu, triple) / len(best) for best in peak_bodies(body, arch))
    return {"kernel": kernel, "cpu": cpu, "row": name, "multiply_adds": count, "instructions": len(body),
            "cycles_per_multiply_add": round(each, 4), "of_peak": round(peak / each, 3)}


def main():
    parser = argparse.ArgumentParser(prog="./dev mca", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("cpu", nargs="?", help=f"one of {', '.join(PROCESSORS)}")
    parser.add_argument("kernels", nargs="*", help="kernels (default: all whose inner loop multiplies and adds)")
    parser.add_argument("--table", action="store_true", help="all processors, as a table of shares of the peak")
    parser.add_argument("--json", action="store_true", help="a line a kernel for machines")
    parser.add_argument("--build", default="", help="folder of the build whose generator programs are used")
    options = parser.parse_args()
    if options.table:
        options.kernels = ([options.cpu] if options.cpu else []) + options.kernels
    elif options.cpu not in PROCESSORS:
        raise HardwareError(f"expected a processor of {', '.join(PROCESSORS)}, found '{options.cpu or ''}'")
    if shutil.which(MCA) is None:
        raise HardwareError(f"there is no {MCA} on this machine; on Debian: apt-get install llvm-19")
    known = generators()
    for kernel in options.kernels:
        if kernel not in known:
            raise HardwareError(f"unknown kernel '{kernel}'; kernels stand in generators/kernels.cmake")
    build = Path(options.build) if options.build else cross.native_build(os.environ.get("PRESET", "release"), ["kindling_generators"])
    cpus = list(PROCESSORS) if options.table else [options.cpu]
    by_row = {}
    for cpu in cpus:
        by_row.setdefault(PROCESSORS[cpu][0], []).append(cpu)
    jobs = [(kernel, row_named(row), of_row) for kernel in options.kernels or known for row, of_row in by_row.items()]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        rows = [row for lines in pool.map(lambda job: predict(*job, build), jobs) for row in lines]
    if options.json:
        for row in rows:
            print(json.dumps(row))
    elif options.table:
        print("| kernel | " + " | ".join(f"{cpu} ({PROCESSORS[cpu][0]})" for cpu in cpus) + " |")
        print("| --- |" + " ---: |" * len(cpus))
        by = {(row["kernel"], row["cpu"]): row for row in rows}
        for kernel in dict.fromkeys(row["kernel"] for row in rows):
            cells = [by.get((kernel, cpu)) for cpu in cpus]
            print(f"| {kernel} | " + " | ".join(f"{c['cycles_per_multiply_add']:.2f} ({c['of_peak']:.0%})" if c else "-" for c in cells) + " |")
    else:
        print(f"{'kernel':38} {'row':8} {'multiply-adds':>13} {'instructions':>12} {'cycles each':>12} {'of peak':>8}")
        for row in rows:
            print(f"{row['kernel']:38} {row['row']:8} {row['multiply_adds']:13} {row['instructions']:12} "
                  f"{row['cycles_per_multiply_add']:12.3f} {row['of_peak']:8.1%}")
    if not rows:
        raise HardwareError("no inner loop that multiplies and adds was found")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except HardwareError as error:
        print(f"mca: error: {error}", file=sys.stderr)
        sys.exit(2)
