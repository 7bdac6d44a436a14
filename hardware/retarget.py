#!/usr/bin/env python3
"""A new hardware target in one command: the row, its kernels, their tests, their tuning, a report.

    ./dev retarget arm64_dot --triple arm-64-linux-arm_dot_prod --inherit arm64
    ./dev retarget avx2_wide --triple x86-64-linux-sse41-avx-f16c-fma-avx2 --inherit avx2 --facts vector_width=4

Adds one line to cmake/targets.cmake (and one to cmake/tuning.cmake for --facts), compiles every kernel for the row, runs the
kernel tests where something here can execute it (this processor, an OpenCL device, an emulator), tunes it where it can be
timed, and writes build/retarget/<name>.md. A kernel that Halide cannot compile for the target gets a
line kindling_compile_as: it is compiled for the plain processor, or written as C++ for the compiler of the tool chain.
When anything goes wrong, cmake/ is left as it was.
"""

import argparse
import datetime
import json
import os
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as xml

import cross
from cross import CMAKE, CTEST, run
from features import check_triple, requirements
from table import kernels_of
from rows import ROOT, TARGETS, HardwareError, Row, architecture, check_tools, processor, read_rows, row_named

TUNING = ROOT / "cmake" / "tuning.cmake"
REPORTS = ROOT / "build" / "retarget"
# What to compile a kernel as that the target's own code generator fails on; where Halide has no plain target, C++.
PLAIN = {"x86-64": "x86-64-linux-sse41", "arm-64": "arm-64-linux", "riscv-64": "c_source", "wasm-32": "c_source"}


def check_name(name, rows):
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise HardwareError(f"'{name}' cannot name a row: expected small letters, digits and '_', a letter first")
    if name in rows:
        raise HardwareError(f"cmake/targets.cmake has a row '{name}' already: {rows[name].triple}")


def check(options):
    """Raises what is wrong with the arguments, before anything is installed or written; returns what the row requires."""
    rows = read_rows()
    check_name(options.name, rows)
    check_triple(options.triple)
    if options.inherit:
        row_named(options.inherit, rows)
    families = json.loads((ROOT / "bench" / "tuning.json").read_text())
    if options.tune != "all" and options.tune not in families:
        raise HardwareError(f"--tune: bench/tuning.json has {', '.join(families)}, and no family '{options.tune}'")
    for fact in options.facts:
        if not re.fullmatch(r"[a-z0-9_]+=\d+", fact):
            raise HardwareError(f"--facts: expected <fact>=<number>, found '{fact}'")
    return requirements(options.triple)


def with_row(text, row):
    """The text of targets.cmake with the row's line behind the last one."""
    lines = text.splitlines(keepends=True)
    last = max(i for i, line in enumerate(lines) if line.startswith("kindling_add_target("))
    return "".join(lines[:last + 1]) + row.line() + "".join(lines[last + 1:])


def with_exceptions(text, row, kernels, how):
    """The text with a line that compiles these kernels in another way."""
    expression = "^(" + "|".join(sorted(kernels)) + ")$"
    return text.rstrip("\n") + f'\nkindling_compile_as({row} "{expression}" {how})\n'


def failed_kernels(output, row):
    """From ninja's output: kernels whose object could not be made, and the first line of why."""
    failed = {}
    for match in re.finditer(rf"^FAILED: \S*/(\w+)__{row}(?:\.o|\.halide_generated\.cpp)\b[^\n]*\n(.*?)(?=^\[\d|^FAILED|\Z)", output,
                             re.MULTILINE | re.DOTALL):
        said = [line for line in match[2].splitlines() if line.strip() and "/generators/" not in line.split(" -g ")[0]]
        failed[match[1]] = said[0].strip()[:200] if said else "no message"
    return failed


def tune_family(row, family, seconds):
    """What ./dev tune said; it is ended with all that it started when the time is up."""
    if seconds <= 0:
        return "not begun: the time for tuning was up (--tune-minutes)"
    child = subprocess.Popen([sys.executable, str(ROOT / "bench" / "tune.py"), row, family], text=True, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, start_new_session=True)
    try:
        said, _ = child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        return "not finished: the time for tuning was up (--tune-minutes); nothing is written"
    return said.strip() if child.returncode == 0 else f"FAILED with {child.returncode}: {said[-2000:]}"


class Retarget:
    def __init__(self, options):
        self.options = options
        requires = check(options)
        gpu = bool({"opencl", "cuda"} & set(requires))
        self.row = Row(options.name, "gpu" if gpu else "cpu", options.triple, requires if not gpu else requires[-1:],
                       options.inherit)
        self.which = processor(options.triple)
        self.native = self.which.name == os.uname().machine
        if not self.native:
            check_tools(self.which)
        self.restore = []
        self.kernels = kernels_of((ROOT / "generators" / "kernels.cmake").read_text())
        self.exceptions = {}
        self.tests = {}
        self.tuned = "no (--no-tune)"

    def configure(self):
        preset = os.environ.get("PRESET", "release")
        native = cross.native_build(preset, ["kindling_generators"])
        if not self.native:
            return cross.configure(self.which, [self.row.name], native)
        # The preset's own build gets the row too: nothing else has to be built again.
        listed = re.search(r"^KINDLING_TARGETS:\w+=(.*)$", (native / "CMakeCache.txt").read_text(), re.MULTILINE)[1]
        if listed and self.row.name not in listed.split(";"):
            self.restore = [CMAKE, f"-DKINDLING_TARGETS={listed}", native]
            run([CMAKE, f"-DKINDLING_TARGETS={listed};{self.row.name}", native], capture_output=True, text=True)
        return native

    def make(self, build, target):
        done = subprocess.run([str(CMAKE), "--build", str(build), "--target", target, "--", "-k", "0"], capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    def compile(self):
        """Every kernel; those that fail once more in the plain way."""
        TARGETS.write_text(with_row(TARGETS.read_text(), self.row))
        if self.options.facts:
            with TUNING.open("a") as file:
                file.write(f'kindling_tune({self.row.name} "." {" ".join(self.options.facts)})\n')
        build = self.configure()
        kernels = len(self.kernels)
        print(f"retarget: compiling {kernels} kernels for {self.row.triple}", flush=True)
        status, output = self.make(build, f"kindling_kernels_{self.row.name}")
        failed = failed_kernels(output, self.row.name)
        if status != 0 and (not failed or len(failed) == kernels):
            why = next(iter(failed.values()), output[-2000:])
            raise HardwareError(f"this Halide cannot compile kernels for {self.row.triple}: {why}")
        if failed:
            how = PLAIN[architecture(self.row.triple)]
            print(f"retarget: {len(failed)} kernels are compiled as {how}", flush=True)
            TARGETS.write_text(with_exceptions(TARGETS.read_text(), self.row.name, failed, how))
            self.exceptions = {kernel: (how, why) for kernel, why in failed.items()}
            status, output = self.make(build, f"kindling_kernels_{self.row.name}")
            if status != 0:
                raise HardwareError(f"compiled as {how} they fail too: {failed_kernels(output, self.row.name) or output[-2000:]}")
        return build

    def test(self, build):
        print("retarget: building and running the kernel tests", flush=True)
        status, output = self.make(build, "kernel_tests")
        if status != 0:
            raise HardwareError(f"the kernel tests could not be built:\n{output[-3000:]}")
        report = build / "retarget.xml"
        report.unlink(missing_ok=True)
        subprocess.run([str(CTEST), "--test-dir", str(build), "--timeout", str(self.options.seconds), "-R", rf"^kernel\..*\.{self.row.name}$", "-j", str(self.options.jobs),
                        "--output-junit", str(report)], capture_output=True, text=True)
        for case in xml.parse(report).getroot().iter("testcase"):
            kernel = case.get("name").split(".")[1]
            said = (case.findtext("system-out") or "").strip().splitlines()
            self.tests[kernel] = (case.get("status"), said[0] if said else "")

    def tune(self):
        """One family of kernels after the other, until the time is up."""
        statuses = {status for status, _ in self.tests.values()}
        if self.options.no_tune:
            return
        if not self.native or "run" not in statuses:
            self.tuned = "not timed: nothing here executes it at its own speed"
            return
        if "fail" in statuses:
            self.tuned = "not timed: tests failed"
            return
        families = list(json.loads((ROOT / "bench" / "tuning.json").read_text())) if self.options.tune == "all" else [self.options.tune]
        end = time.monotonic() + 60 * self.options.tune_minutes
        said, before = [], TUNING.read_text()
        for family in families:
            print(f"retarget: tuning {family}", flush=True)
            said.append(f"./dev tune {self.row.name} {family}\n{tune_family(self.row.name, family, end - time.monotonic())}")
        if TUNING.read_text() != before:
            self.test(self.configure())  # other facts, other kernels
        self.tuned = "by `./dev tune`:\n\n```\n" + "\n\n".join(said) + "\n```"

    def report(self):
        where = "this machine" if self.native else self.which.emulator
        counts = {}
        for status, _ in self.tests.values():
            counts[status] = counts.get(status, 0) + 1
        summary = ", ".join(f"{n} {dict(run='passed', fail='failed', notrun='not executed').get(s, s)}" for s, n in sorted(counts.items())) \
            or "not executed"
        lines = [f"# {self.row.name}: {self.row.triple}", "",
                 f"Written by `./dev retarget {' '.join(sys.argv[1:])}`, {datetime.date.today()}.", "",
                 f"- row: `{self.row.line().strip()}`",
                 f"- the processor must have: {' '.join(self.row.requires) or 'nothing in particular'}",
                 f"- kernels compiled: {len(self.kernels)}, {len(self.exceptions)} of them in another way",
                 f"- kernel tests on {where}: {summary}",
                 f"- tuned: {self.tuned}", "", "| kernel | compiled as | tests |", "| --- | --- | --- |"]
        for kernel in sorted(self.kernels):
            status, said = self.tests.get(kernel, ("notrun", "no program here runs its tests"))
            how = f"{self.exceptions[kernel][0]} ({self.exceptions[kernel][1]})" if kernel in self.exceptions else "the row's target"
            result = {"run": "passed", "fail": f"FAILED: {said}", "notrun": f"not executed: {said}"}.get(status, status)
            lines.append(f"| {kernel} | {how} | {result} |")
        REPORTS.mkdir(parents=True, exist_ok=True)
        path = REPORTS / f"{self.row.name}.md"
        path.write_text("\n".join(lines) + "\n")
        print(f"retarget: {summary}; report: {path.relative_to(ROOT)}")
        return "fail" in counts or "FAILED" in self.tuned

    def go(self):
        before = TARGETS.read_text(), TUNING.read_text()
        try:
            build = self.compile()
            self.test(build)
            self.tune()
        except BaseException:
            TARGETS.write_text(before[0])
            TUNING.write_text(before[1])
            if self.restore:
                run(self.restore, capture_output=True, text=True)
            raise
        return 1 if self.report() else 0


def main():
    parser = argparse.ArgumentParser(prog="./dev retarget", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("name", help="of the new row")
    parser.add_argument("--triple", required=True, help="Halide target: <processor>-<bits>-<system>-<feature>-...")
    parser.add_argument("--inherit", default="", metavar="ROW", help="row whose measured facts it begins with")
    parser.add_argument("--facts", nargs="+", default=[], metavar="FACT=N", help="facts of generators/common/hardware.h that differ")
    parser.add_argument("--tune", default="all", metavar="FAMILY", help="only this family of bench/tuning.json (default: all)")
    parser.add_argument("--tune-minutes", type=float, default=30, metavar="N", help="time for tuning; a family not done by then keeps "
                        "its facts (default: 30)")
    parser.add_argument("--no-tune", action="store_true", help="keep the facts inherited, or those of the processor family")
    parser.add_argument("--seconds", type=int, default=1500, help="time limit of one test (default: 1500)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="tests side by side")
    parser.add_argument("--packages", action="store_true", help="print the Debian packages that the target needs, and stop")
    options = parser.parse_args()
    if options.packages:
        check(options)
        print(" ".join(processor(options.triple).packages))
        return 0
    return Retarget(options).go()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except HardwareError as error:
        print(f"retarget: error: {error}", file=sys.stderr)
        sys.exit(2)
