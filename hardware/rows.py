"""The rows of cmake/targets.cmake, and what this machine needs to build and execute those of another processor."""

import importlib.util
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGETS = ROOT / "cmake" / "targets.cmake"


class HardwareError(Exception):
    """What a person has to change."""


@dataclass
class Row:
    name: str
    kind: str
    triple: str
    requires: list = field(default_factory=list)
    inherit: str = ""

    def line(self):
        words = [self.name, self.kind, self.triple, *self.requires, *(["INHERIT", self.inherit] if self.inherit else [])]
        return f"kindling_add_target({' '.join(words)})\n"


@dataclass
class Processor:
    name: str  # as CMAKE_SYSTEM_PROCESSOR spells it
    packages: list  # Debian's, to build and execute
    commands: list  # that come with them
    emulator: str  # what executes its programs here; empty: the machine itself


PROCESSORS = {
    "x86-64": Processor("x86_64", ["g++"], ["g++"], ""),
    "arm-64": Processor("aarch64", ["g++-aarch64-linux-gnu", "qemu-user"], ["aarch64-linux-gnu-g++", "qemu-aarch64"],
                        "qemu-aarch64"),
    "riscv-64": Processor("riscv64", ["g++-riscv64-linux-gnu", "qemu-user"], ["riscv64-linux-gnu-g++", "qemu-riscv64"],
                          "qemu-riscv64"),
    "wasm-32": Processor("wasm32", ["clang-16", "lld-16", "llvm-16", "wasi-libc", "libclang-rt-16-dev-wasm32", "libc++-16-dev-wasm32",
                                    "libc++abi-16-dev-wasm32"], ["clang++-16", "wasm-ld-16", "llvm-ar-16"], "wasmtime"),
}


def read_rows(text=None):
    """By name, in the order of the file."""
    text = TARGETS.read_text() if text is None else text
    rows = {}
    for line in re.findall(r"^kindling_add_target\(([^)]*)\)", text, re.MULTILINE):
        name, kind, triple, *rest = line.split()
        inherit = ""
        if "INHERIT" in rest:
            at = rest.index("INHERIT")
            inherit = rest[at + 1]
            rest = rest[:at]
        rows[name] = Row(name, kind, triple, rest, inherit)
    return rows


def architecture(triple):
    """'arm-64' of 'arm-64-linux-sve2'."""
    arch = "-".join(triple.split("-")[:2])
    if arch not in PROCESSORS:
        raise HardwareError(f"the Halide target '{triple}': this project has tool chains for {', '.join(PROCESSORS)}, "
                            f"and none for '{arch}'")
    return arch


def processor(triple):
    return PROCESSORS[architecture(triple)]


def row_named(name, rows=None):
    rows = read_rows() if rows is None else rows
    if name not in rows:
        raise HardwareError(f"unknown row '{name}': cmake/targets.cmake has {', '.join(rows)}")
    return rows[name]


def check_tools(which, find=shutil.which, module=importlib.util.find_spec):
    """Raises what is missing, and how to get it."""
    if not (ROOT / "cmake" / "toolchains" / f"{which.name}.cmake").exists():
        raise HardwareError(f"there is no tool chain file cmake/toolchains/{which.name}.cmake: builds for {which.name} from another "
                            "machine need one")
    missing = [command for command in which.commands if find(command) is None]
    if missing:
        raise HardwareError(f"for {which.name} there is no {' and no '.join(missing)} on this machine; "
                            f"on Debian: apt-get install {' '.join(which.packages)}")
    if which.name == "wasm32" and module("wasmtime") is None:
        raise HardwareError("there is no wasmtime to execute WebAssembly; get it with .venv/bin/pip install wasmtime")
