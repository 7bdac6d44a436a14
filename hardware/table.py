#!/usr/bin/env python3
"""The tables of docs/hardware.md, from what the tests of the builds here reported: kernel x row, and what ptxas made of every kernel.

    ./dev hardware            print them
    ./dev hardware --write    and put them into docs/hardware.md

Reads the reports that `./dev test` and `./dev cross` leave in their build folders (tests.xml). A kernel without a test in
them was not built here: "-".
"""

import argparse
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as xml

import ptx
from rows import ROOT, TARGETS, HardwareError, processor, read_rows

PAGE = ROOT / "docs" / "hardware.md"
BEGIN, END = "<!-- begin: ./dev hardware --write -->\n", "<!-- end -->\n"
BEGIN_PTX = "<!-- begin: ./dev hardware --write (ptx) -->\n"
THREADS = 128  # of a block on a GPU, generators/common/hardware.h
WORDS = {"run": "passed", "fail": "FAILED", "notrun": "skipped"}


def kernels_of(text):
    return re.findall(r"^kindling_add_kernel\((\S+)", text, re.MULTILINE)


def compiled_as(row, kernel, text, inherit):
    """How kindling_compile_as has a kernel compiled on a row; empty where nothing is said."""
    how = compiled_as(inherit[row], kernel, text, inherit) if inherit.get(row) else ""
    for expression, other in re.findall(rf'^kindling_compile_as\({row} "([^"]*)" ([^)]*)\)', text, re.MULTILINE):
        if re.search(expression, kernel):
            how = other
    return how


def read_results(paths):
    """Test name -> (ctest's status, what it printed), by the last report that has it."""
    results = {}
    for path in sorted((path for path in paths if path.exists()), key=lambda path: path.stat().st_mtime_ns):
        for case in xml.parse(path).getroot().iter("testcase"):
            results[case.get("name")] = (case.get("status"), case.findtext("system-out") or "")
    return results


def cell(row, kernel, results, how):
    def of(kind):
        return WORDS.get(results.get(f"{kind}.{kernel}.{row.name}", ("", ""))[0], "not run")

    status, fuzz = of("kernel"), of("fuzz")
    if fuzz == "FAILED":
        status = fuzz
    elif status == "not run" and fuzz == "passed":
        status = "fuzzed"
    if status == "skipped" and "cuda" in row.requires:
        status = {"run": "assembled", "fail": "FAILED"}.get(results.get(f"ptx.{kernel}", ("", ""))[0], "compiled")
    elif status == "skipped":
        status = "compiled"
    if status == "not run":  # a build of the row would have named its tests
        return "-"
    return status + ("¹" if how == "c_source" else "²" if how else "")


def where(row, own):
    which = processor(row.triple)
    if row.kind == "gpu":
        return "PoCL (OpenCL on the processor)" if "opencl" in row.requires else "no device: ptxas for sm_80, sm_90, sm_100"
    return "this machine" if which.name == own else which.emulator


def table(rows, kernels, results_of, text, tuned, own):
    inherit = {name: row.inherit for name, row in rows.items()}
    cells = {name: [cell(row, kernel, results_of(row), compiled_as(name, kernel, text, inherit)) for kernel in kernels]
             for name, row in rows.items()}
    lines = ["| row | Halide target | executed on | built | passed | tuned |", "| --- | --- | --- | ---: | ---: | --- |"]
    for name, row in rows.items():
        passed = sum(c.startswith("passed") for c in cells[name])
        families = sorted({expression for expression in re.findall(rf'^kindling_tune\({name} "([^"]*)"', tuned, re.MULTILINE)})
        built = sum(c != "-" for c in cells[name])
        place = where(row, own) if built and (passed or row.kind == "gpu") else "not executed here" if built else "not built here"
        # A bar inside a cell would end it.
        tuned_families = ", ".join(f"`{f}`".replace("|", "\\|") for f in families)
        lines.append(f"| {name} | `{row.triple}` | {place} | {built} | {passed} | {tuned_families or '-'} |")
    lines += ["", "| kernel | " + " | ".join(rows) + " |", "| --- |" + " --- |" * len(rows)]
    for at, kernel in enumerate(kernels):
        lines.append(f"| {kernel} | " + " | ".join(cells[name][at] for name in rows) + " |")
    return "\n".join(lines) + "\n\n¹ written by Halide as C++ for the cross compiler; ² compiled for the plain processor; " \
        "both because Halide 21 has no valid code for the kernel on that row (`kindling_compile_as` in `cmake/targets.cmake`).\n"


def ptx_line(kernel, said):
    """A line of the table of registers, from what ptx_check.py printed; over all of a kernel's entries."""
    entries = [(architecture, int(registers), int(shared)) for architecture, registers, shared in
               re.findall(r"^(sm_\d+) \S+: (\d+) registers, (\d+) bytes shared$", said, re.MULTILINE)]
    loops = re.findall(r"^(sm_\d+): (\d+) multiply-adds in an inner loop of \d+ instructions, share ([0-9.]+)$", said, re.MULTILINE)
    cells = [[], [], [], []]
    for architecture in dict.fromkeys(entry[0] for entry in entries):
        own = [entry[1:] for entry in entries if entry[0] == architecture]
        share = max(((int(count), share) for of, count, share in loops if of == architecture), default=None)
        cells[0].append(str(max(registers for registers, _ in own)))
        cells[1].append(str(max(shared for _, shared in own)))
        cells[2].append(f"{min(ptx.occupancy(architecture, *entry, THREADS) for entry in own):.0%}")
        cells[3].append(f"{float(share[1]):.2f}" if share else "-")
    return f"| {kernel} | " + " | ".join(" / ".join(cell) if set(cell) != {"-"} else "-" for cell in cells) + " |"


def ptx_table(kernels, results):
    """Registers, shared memory, occupancy and shares of every kernel whose PTX was assembled (a spill fails its test) and of whose
    report ctest removed nothing (--test-output-size-passed)."""
    lines = [ptx_line(kernel, said) for kernel in kernels for status, said in [results.get(f"ptx.{kernel}", ("", ""))]
             if status == "run" and "registers" in said and "test output was removed" not in said]
    if not lines:
        return ""
    return "\n".join(["| kernel | registers | shared bytes | occupancy | FFMA share |", "| --- | --- | --- | --- | --- |", *lines]) + "\n"


def replaced(page, begin, text):
    """The page with a table between its marks."""
    if begin not in page or END not in page[page.index(begin):]:
        raise HardwareError(f"{PAGE.name} has no place for the table, between '{begin.strip()}' and '{END.strip()}'")
    start = page.index(begin) + len(begin)
    return page[:start] + text + page[page.index(END, start):]


def main():
    parser = argparse.ArgumentParser(prog="./dev hardware", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    own, preset = os.uname().machine, os.environ.get("PRESET", "release")
    files = {}

    def results_of(row):
        which = processor(row.triple).name
        if which not in files:
            files[which] = read_results([ROOT / "build" / preset / "tests.xml"] if which == own
                                        else (ROOT / "build" / "cross" / which / "reports").glob("*.xml"))
        return files[which]

    rows = read_rows()
    text = table(rows, kernels_of((ROOT / "generators" / "kernels.cmake").read_text()), results_of, TARGETS.read_text(),
                 (ROOT / "cmake" / "tuning.cmake").read_text(), own)
    if not any(files.values()):
        raise HardwareError("no test reports here: run ./dev test and ./dev cross first")
    registers = ptx_table(kernels_of((ROOT / "generators" / "kernels.cmake").read_text()), files[own])
    if not options.write:
        print(text + "\n" + registers)
        return 0
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    page = replaced(PAGE.read_text(), BEGIN, f"\nAt commit {commit}, Halide 21.0.0.\n\n{text}")
    if registers:
        page = replaced(page, BEGIN_PTX, f"\nAt commit {commit}, values for sm_80 / sm_90 / sm_100.\n\n{registers}")
    PAGE.write_text(page)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except HardwareError as error:
        print(f"hardware: error: {error}", file=sys.stderr)
        sys.exit(2)
