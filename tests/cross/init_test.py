#!/usr/bin/env python3
"""One whole `kindling init` on another processor's program, and its weights against this machine's.

    init_test.py ROW NATIVE_PROGRAM [EMULATOR ...] FOREIGN_PROGRAM

Both draw the same candidates from the same counter-based streams, run the same data through them and must choose the same
neurons; what may differ is the rounding of sums and of the polynomials behind the draws. The bound: no weight differs by
more than 1e-5 of its layer's largest weight (some 80 units in the last place of float32).
"""

import json
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

BOUND = 1e-5
RUNS = {
    "ibci": ["--model", "256-32-10", "--method", "ibci:k=3"],
    "lsuv": ["--model", "1x16x16:conv8,bn,relu,pool2,flatten,16,tanh,10", "--method", "lsuv"],
}


def read_safetensors(path):
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8:8 + length])
    header.pop("__metadata__", None)
    data = content[8 + length:]
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        if entry["dtype"] == "F32":
            tensors[name] = struct.unpack(f"<{(end - begin) // 4}f", data[begin:end])
    return tensors


def worst_difference(ours, theirs):
    """The largest difference relative to a tensor's largest element, and its tensor."""
    if ours.keys() != theirs.keys():
        raise SystemExit(f"FAILED: expected the tensors {sorted(ours)}, found {sorted(theirs)}")
    worst = (0.0, "none")
    for name, values in ours.items():
        if len(values) != len(theirs[name]):
            raise SystemExit(f"FAILED: {name}: expected {len(values)} elements, found {len(theirs[name])}")
        scale = max(map(abs, values), default=0.0) or 1.0
        for a, b in zip(values, theirs[name]):
            difference = abs(a - b) / scale
            if not difference <= worst[0]:
                worst = (difference, name)
    return worst


def main():
    row, native, *foreign = sys.argv[1:]
    failed = False
    for run, arguments in RUNS.items():
        with tempfile.TemporaryDirectory() as folder:
            files = []
            for name, program, target in (("native", [native], []), (row, foreign, ["--target", row])):
                files.append(Path(folder, f"{name}.safetensors"))
                done = subprocess.run([*program, "init", *arguments, "--data", "synthetic:glyphs", "--seed", "7", *target,
                                       "--out", str(files[-1])], capture_output=True, text=True)
                if done.returncode != 0:
                    raise SystemExit(f"FAILED: {run} on {name} ended with {done.returncode}:\n{done.stderr}")
            ours, theirs = map(read_safetensors, files)
            if not any(any(values) for values in ours.values()):
                raise SystemExit(f"FAILED: {run}: all weights are 0")
            difference, where = worst_difference(ours, theirs)
            print(f"{run} on {row}: {len(ours)} tensors, largest difference {difference:.2e} of the largest weight ({where})")
            failed = failed or not difference <= BOUND
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
