#!/usr/bin/env python3
"""Builds library, program and kernel tests for other processors and executes them under an emulator.

    ./dev cross arm64                 the rows named, all of one build where they share a processor
    ./dev cross arm64 sve2 rvv
    ./dev cross arm64 --tests 'dense_forward\\.'   only what matches (of ctest's names, kernel.<kernel>.<row>)

The generator programs are this machine's own (build/<preset>/generators); what they write, the runtime and the tests are
the other processor's, in build/cross/<processor>. zlib and libzip are built from Debian's sources.
"""

import argparse
import importlib.util
import os
import subprocess
import sys

from rows import ROOT, HardwareError, check_tools, processor, read_rows, row_named

CMAKE = ROOT / ".venv" / "bin" / "cmake"
CTEST = ROOT / ".venv" / "bin" / "ctest"


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


def programs_of(which):
    """What the tests of a cross build execute."""
    return ["wasm_kernels", "kindling_module"] if which.name == "wasm32" else ["kernel_tests", "kindling_program"]


def configure(which, rows, native, more=()):
    """The build folder of a processor, with these rows."""
    toolchain = ROOT / "cmake" / "toolchains" / f"{which.name}.cmake"
    build = ROOT / "build" / "cross" / which.name
    libraries = ROOT / "build" / "cross" / "libraries" / which.name
    if which.name != "wasm32":
        run([ROOT / "cmake" / "toolchains" / "libraries.sh", toolchain, libraries], env={**os.environ, "CMAKE": str(CMAKE)})
    run([CMAKE, "-G", "Ninja", "-S", ROOT, "-B", build, f"-DCMAKE_MAKE_PROGRAM={ROOT}/.venv/bin/ninja",
         f"-DCMAKE_TOOLCHAIN_FILE={toolchain}", "-DCMAKE_BUILD_TYPE=Release",
         "-DCMAKE_CXX_FLAGS_RELEASE=-O1 -DNDEBUG",  # an emulator's time is not worth a compiler's; kernels are compiled as ever
         f"-DKINDLING_HOST_BUILD={native}",
         f"-DKINDLING_CROSS_LIBRARIES={libraries}", f"-DKINDLING_PYTHON={ROOT}/.venv/bin/python3",
         "-DKINDLING_BENCHMARKS=OFF", f"-DKINDLING_TARGETS={';'.join(rows)}", *more], capture_output=True, text=True)
    return build


def main():
    parser = argparse.ArgumentParser(prog="./dev cross", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("rows", nargs="+", help="rows of cmake/targets.cmake")
    parser.add_argument("--tests", default="", help="only tests whose names match")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="tests side by side")
    parser.add_argument("--packages", action="store_true", help="print the Debian packages that these rows need, and stop")
    options = parser.parse_args()
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
        if name == "wasm32" and importlib.util.find_spec("wasmtime") is None:
            raise HardwareError("there is no wasmtime to execute WebAssembly; get it with .venv/bin/pip install wasmtime")
    preset = os.environ.get("PRESET", "release")
    native = native_build(preset, ["kindling_generators", "kindling_program"])
    failed = []
    for which, names in groups.values():
        build = configure(which, names, native)
        run([CMAKE, "--build", build, "--target", *programs_of(which)])
        tests = subprocess.run([str(CTEST), "--test-dir", str(build), "--output-on-failure", "-j", str(options.jobs),
                                "--no-tests=error", "--output-junit", str(build / "tests.xml"),
                                *(["-R", options.tests] if options.tests else [])],
                               env={**os.environ, "KINDLING_REQUIRE_TARGETS": " ".join(names)})
        if tests.returncode != 0:
            failed += names
    if failed:
        raise HardwareError(f"tests failed on {' '.join(failed)}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except HardwareError as error:
        print(f"cross: error: {error}", file=sys.stderr)
        sys.exit(2)
