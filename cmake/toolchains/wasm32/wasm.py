#!/usr/bin/env python3
"""Executes WebAssembly by the Python package wasmtime: wasm.py PROGRAM.wasm [ARGUMENT ...]. Environment, output and exit
status are those of the caller; a program has no files. Also a module: instance() for a library's exported functions."""

import os
import sys
import tempfile
from importlib import metadata
from pathlib import Path

try:
    import wasmtime
except ImportError:
    sys.exit(f"wasm.py: error: there is no wasmtime to execute WebAssembly; get it with {sys.executable} -m pip install wasmtime")


def compiled(engine, path):
    """The module, compiled once: its machine code is kept beside it."""
    kept = path.with_suffix(f".wasmtime-{metadata.version('wasmtime')}")
    if kept.exists() and kept.stat().st_mtime_ns > path.stat().st_mtime_ns:
        return wasmtime.Module.deserialize_file(engine, str(kept))
    module = wasmtime.Module.from_file(engine, str(path))
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(module.serialize())
    os.replace(file.name, kept)  # several tests may do so at once
    return module


def instance(path, arguments=()):
    engine = wasmtime.Engine()
    store = wasmtime.Store(engine)
    wasi = wasmtime.WasiConfig()
    wasi.argv = [Path(path).name, *arguments]
    wasi.env = list(os.environ.items())
    wasi.inherit_stdout()
    wasi.inherit_stderr()
    store.set_wasi(wasi)
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    return store, linker.instantiate(store, compiled(engine, Path(path))).exports(store)


def main():
    store, exports = instance(sys.argv[1], sys.argv[2:])
    try:
        exports["_start"](store)
    except wasmtime.ExitTrap as ended:
        return ended.code
    except wasmtime.Trap as trap:
        print(f"{sys.argv[1]}: {trap}", file=sys.stderr)
        return 134
    return 0


if __name__ == "__main__":
    sys.exit(main())
