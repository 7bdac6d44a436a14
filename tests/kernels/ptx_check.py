"""Assembles the PTX inside a kernel's object file: ptx_check.py [--ffma SHARE] OBJECT ARCHITECTURE...

Fails on an error of ptxas, a register spill or a stack frame; prints registers and shared memory of every entry. With --ffma,
also when fewer than this share of the instructions of the heaviest inner loop are multiply-adds.
Exit code 77 when there is no ptxas (looked for on PATH, in CUDA_HOME, in /usr/local/cuda and in this Python's packages), or
no nvdisasm where one is needed.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "hardware"))
import ptx as tools  # noqa: E402


def check(ptxas, nvdisasm, module, architecture, least):
    """Prints a line per entry; raises on what may not be."""
    entries, sass = tools.assemble(ptxas, module, architecture, nvdisasm)
    for e in entries:
        line = f"{architecture} {e['name']}: {e['registers']} registers, {e['shared']} bytes shared"
        if e["stack"] or e["spill_stores"] or e["spill_loads"]:
            raise tools.PtxError(f"{line}, {e['stack']} bytes stack frame, {e['spill_stores']} bytes spill stores, "
                                 f"{e['spill_loads']} bytes spill loads")
        print(line)
    if least:
        multiply_adds, instructions, share = tools.multiply_add_loop(sass)
        print(f"{architecture}: {multiply_adds} multiply-adds in an inner loop of {instructions} instructions, share {share:.3f}")
        if share < least:
            raise tools.PtxError(f"{architecture}: expected a share of multiply-adds of {least} or more, found {share:.3f}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ffma", type=float, default=0.0)
    parser.add_argument("object")
    parser.add_argument("architectures", nargs="+")
    options = parser.parse_args()
    ptxas = tools.find_tool("ptxas")
    nvdisasm = tools.find_tool("nvdisasm") if options.ffma else None
    if ptxas is None:
        print("skipped: no ptxas (CUDA toolkit, or pip install nvidia-cuda-nvcc)")
        return 77
    if options.ffma and nvdisasm is None:
        print("skipped: no nvdisasm (CUDA toolkit, or pip install nvidia-cuda-nvdisasm)")
        return 77
    try:
        for module in tools.embedded_ptx(options.object):
            for architecture in options.architectures:
                check(ptxas, nvdisasm, module, architecture, options.ffma)
    except tools.PtxError as error:
        print(f"FAILED: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
