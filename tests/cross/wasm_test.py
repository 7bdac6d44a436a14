#!/usr/bin/env python3
"""The WebAssembly module under wasmtime, called as a page would, its weights against this machine's:

    wasm_test.py NATIVE_PROGRAM MODULE.wasm

The bound is that of init_test.py. A model that cannot be read must end the instance.
"""

import struct
import subprocess
import sys
import tempfile
from pathlib import Path

from init_test import BOUND, read_safetensors

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "cmake" / "toolchains" / "wasm32"))
from wasm import instance, wasmtime  # noqa: E402

RUNS = (("256-32-10", "he"), ("256-32-10", "orthogonal"), ("1x16x16:conv4,relu,pool2,flatten,10", "lsuv"))


def module_weights(path, model, method, seed):
    """What a page does: write two strings into the module's memory, call, read the numbers."""
    store, exports = instance(path)
    exports["_initialize"](store)
    memory = exports["memory"]
    places = []
    for text in (model, method):
        data = text.encode() + b"\0"
        places.append(exports["kindling_module_allocate"](store, len(data)))
        memory.write(store, data, places[-1])
    count = exports["kindling_module_initialize"](store, *places, seed)
    for place in places:
        exports["kindling_module_free"](store, place)
    at = exports["kindling_module_weights"](store)
    return struct.unpack(f"<{count}f", memory.read(store, at, at + 4 * count))


def native_weights(program, model, method, seed):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "weights.safetensors")
        done = subprocess.run([program, "init", "--model", model, "--method", method, "--data", "synthetic:glyphs", "--seed", str(seed),
                               "--out", str(file)], capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            raise SystemExit(f"FAILED: {program}: {done.stderr}")
        tensors = read_safetensors(file)
    names = sorted(tensors, key=lambda name: (int(name.split(".")[1]), name.endswith("bias")))
    return [value for name in names for value in tensors[name]]


def main():
    native, module = sys.argv[1:]
    failed = False
    for model, method in RUNS:
        expected = native_weights(native, model, method, 7)
        found = module_weights(module, model, method, 7)
        if len(found) != len(expected):
            raise SystemExit(f"FAILED: {method} on {model}: expected {len(expected)} numbers, found {len(found)}")
        scale = max(map(abs, expected))
        worst = max(abs(a - b) for a, b in zip(expected, found)) / scale
        print(f"{method} on {model}: {len(found)} numbers, largest difference {worst:.2e} of the largest")
        failed = failed or not (scale > 0 and worst <= BOUND)
    try:
        module_weights(module, "256-what-10", "he", 7)
    except wasmtime.ExitTrap as ended:
        failed = failed or ended.code == 0
    else:
        print("FAILED: the model 256-what-10 was taken")
        failed = True
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
