#!/usr/bin/env python3
"""Builds library, program and kernel tests for other processors and executes them under an emulator.

    ./dev cross arm64                 the rows named, all of one build where they share a processor
    ./dev cross arm64 sve2 rvv
    ./dev cross arm64 rvv wasm --core    in minutes: the kernels of whole initializations alone, and these
    ./dev cross arm64 --program       the program with all its verbs; else it has `init` alone
    ./dev cross arm64 --tests 'dense_forward\\.'   only what matches (of ctest's names: kernel.<kernel>.<row>,
                                                  fuzz.<kernel>.<row>, cross.init.<row>)

The generator programs are this machine's own (build/<preset>/generators); what they write, the runtime and the tests are
the other processor's, in build/cross/<processor>. zlib and libzip are built from Debian's sources.
"""

import argparse
import json
import os
import subprocess
import sys
import time

from rows import ROOT, HardwareError, check_tools, processor, read_rows, row_named

CMAKE = ROOT / ".venv" / "bin" / "cmake"
CTEST = ROOT / ".venv" / "bin" / "ctest"
# What tests/cross/init_test.py and wasm_test.py call; a wrapper asks for all three forms of a kernel with an activation.
CORE = ("^((dense_forward|dense_forward_few|dense_moments|conv2d_forward|batch_norm_apply)(_tanh|_sigmoid)?|batch_norm_statistics|"
        "campaign_(norms|project|residual|step)|column_mean|gather_rows_u8|max_pool_inference|patches|philox_normal|"
        "scale_rows|scatter_criteria|standardize_u8|transpose_samples)$")


def run(command, **more):
    done = subprocess.run([str(word) for word in command], **more)
    if done.returncode != 0:
        raise HardwareError(f"{' '.join(map(str, command[:4]))} ... ended with {done.returncode}"
                            + (":\n" + (done.stdout or "")[-3000:] + (done.stderr or "")[-3000:] if "capture_output" in more else ""))
    return done


def native_build(preset, targets):
    """This machine's own build, where the generator programs and the program to compare with are."""
    build = ROOT / "build" / preset
    if not (build / "build.ninja").exists():
        run([CMAKE, "--preset", preset], capture_output=True, text=True)
    run([CMAKE, "--build", build, "--target", *targets])
    return build


def programs_of(which, names):
    """What the tests of these names execute."""
    programs = {"kernel": "kernel_tests", "fuzz": "kernel_fuzz", "cross": "kindling_module" if which.name == "wasm32" else "kindling_program"}
    return sorted({programs[name.split(".")[0]] for name in names})


def select(build, row, tests):
    """ctest's options for a row's tests whose names match, and the names."""
    chosen = ["-L", rf"^row\.{row}$", *(["-R", tests] if tests else [])]
    listed = run([CTEST, "--test-dir", build, "--show-only=json-v1", *chosen], capture_output=True, text=True).stdout
    names = [test["name"] for test in json.loads(listed)["tests"]]
    if not names:
        raise HardwareError(f"--tests: no test of the row {row} matches '{tests}'")
    return chosen, names


def execute(build, row, chosen, jobs, seconds):
    """Runs a row's tests; what they said is kept beside what earlier runs of other tests said (see table.py)."""
    reports = build / "reports"
    reports.mkdir(exist_ok=True)
    report = reports / f"{row}-{time.strftime('%Y%m%d-%H%M%S')}.xml"
    return subprocess.run([str(CTEST), "--test-dir", str(build), "--output-on-failure", "-j", str(jobs), "--timeout", str(seconds),
                           "--no-tests=error", "--output-junit", str(report), *chosen],
                          env={**os.environ, "KINDLING_REQUIRE_TARGETS": row}).returncode == 0


def configure(which, rows, native, kernels="", whole_program=False):
    """The build folder of a processor, with these rows and kernels."""
    toolchain = ROOT / "cmake" / "toolchains" / f"{which.name}.cmake"
    build = ROOT / "build" / "cross" / which.name
    libraries = ROOT / "build" / "cross" / "libraries" / which.name
    if which.name != "wasm32":
        run([ROOT / "cmake" / "toolchains" / "libraries.sh", toolchain, libraries], env={**os.environ, "CMAKE": str(CMAKE)})
    if which.name == "riscv64":
        run([ROOT / "cmake" / "toolchains" / "emulator.sh", ROOT / "build" / "cross" / "qemu"])
    run([CMAKE, "-G", "Ninja", "-S", ROOT, "-B", build, f"-DCMAKE_MAKE_PROGRAM={ROOT}/.venv/bin/ninja",
         f"-DCMAKE_TOOLCHAIN_FILE={toolchain}", "-DCMAKE_BUILD_TYPE=Release",
         # An emulator's time is not worth a compiler's; kernels are compiled as ever.
         f"-DCMAKE_CXX_FLAGS_RELEASE={'-O1' if whole_program else '-O0'} -DNDEBUG",
         f"-DKINDLING_INIT_ONLY={'OFF' if whole_program else 'ON'}",
         f"-DKINDLING_HOST_BUILD={native}",
         f"-DKINDLING_CROSS_LIBRARIES={libraries}", f"-DKINDLING_PYTHON={ROOT}/.venv/bin/python3",
         "-DKINDLING_BENCHMARKS=OFF", f"-DKINDLING_TARGETS={';'.join(rows)}", f"-DKINDLING_KERNELS={kernels}"],
        capture_output=True, text=True)
    return build


def main():
    parser = argparse.ArgumentParser(prog="./dev cross", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("rows", nargs="+", help="rows of cmake/targets.cmake")
    parser.add_argument("--tests", default="", help="only tests whose names match")
    parser.add_argument("--kernels", default="", help="compile only kernels whose names match")
    parser.add_argument("--core", action="store_true", help="only the kernels of whole initializations, their random cases, and these")
    parser.add_argument("--program", action="store_true", help="build the program with all its verbs; else it has `init` alone")
    parser.add_argument("--seconds", type=int, default=1500, help="time limit of one test (default: 1500)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="tests side by side")
    parser.add_argument("--packages", action="store_true", help="print the Debian packages that these rows need, and stop")
    options = parser.parse_args()
    if options.core:
        options.kernels = options.kernels or CORE
        options.tests = options.tests or r"^(fuzz|cross)\."
    known = read_rows()
    rows = [row_named(name, known) for name in options.rows]
    groups = {}
    for row in rows:
        groups.setdefault(processor(row.triple).name, (processor(row.triple), []))[1].append(row.name)
    if options.packages:
        print(" ".join(sorted({package for which, _ in groups.values() for package in which.packages})))
        return 0
    own = os.uname().machine
    for name, (which, names) in groups.items():
        if name == own:
            raise HardwareError(f"{', '.join(names)}: this machine is {own} itself; ./dev test executes these rows")
        check_tools(which)
    preset = os.environ.get("PRESET", "release")
    native = native_build(preset, ["kindling_generators"])
    failed = []
    for which, names in groups.values():
        build = configure(which, names, native, options.kernels, options.program)
        for row in names:
            chosen, tests = select(build, row, options.tests)
            if any(test.startswith("cross.") for test in tests):
                native_build(preset, ["kindling_program"])  # to compare with
            run([CMAKE, "--build", build, "--target", *programs_of(which, tests)])
            if not execute(build, row, chosen, options.jobs, options.seconds):
                failed.append(row)
    if failed:
        raise HardwareError(f"tests failed on {' '.join(failed)}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except HardwareError as error:
        print(f"cross: error: {error}", file=sys.stderr)
        sys.exit(2)
