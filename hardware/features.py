"""From a Halide target to what a processor must have to run it, as runtime/kernels/cpu_features.cpp names it."""

import re

from rows import HardwareError, architecture

AVX512 = ["avx512f", "avx512cd"]
SKYLAKE = [*AVX512, "avx512vl", "avx512bw", "avx512dq"]
# What each feature of a Halide target asks of a processor; an empty list where nothing is asked.
REQUIRES = {
    "sse41": ["sse4.1"], "avx": ["avx"], "f16c": ["f16c"], "fma": ["fma"], "avx2": ["avx2"],
    "avx512": AVX512, "avx512_skylake": SKYLAKE,
    "arm_dot_prod": ["dotprod"], "arm_fp16": ["fp16"], "sve": ["sve"], "sve2": ["sve2"], "rvv": ["rvv"],
    "wasm_simd128": ["simd128"], "wasm_bulk_memory": [],
    "opencl": ["opencl"], "cuda": ["cuda"],
}
VECTOR_BITS = ["128", "256", "512", "1024", "2048"]
PLAIN = {"arm-64": ["neon"]}
# What a row of its own would be a mistake for, or what the build adds itself.
BUILD_ADDS = {"no_runtime", "user_context", "jit", "debug", "profile", "trace_loads", "trace_stores"}


def requirements(triple):
    """The names for a row; raises for a feature that no processor can be asked about."""
    features = triple.split("-")[3:]
    found = list(PLAIN.get(architecture(triple), []))
    bits = next((f[len("vector_bits_"):] for f in features if f.startswith("vector_bits_")), None)
    if bits is not None and bits not in VECTOR_BITS:
        raise HardwareError(f"'vector_bits_{bits}': expected a length that vectors have, {', '.join(VECTOR_BITS)}")
    for feature in features:
        if feature.startswith(("vector_bits_", "cuda_capability_")):
            continue
        if feature in BUILD_ADDS:
            raise HardwareError(f"'{feature}' is no property of hardware: the build decides it for all rows")
        if feature not in REQUIRES:
            raise HardwareError(f"nothing here can tell whether a processor has '{feature}'; known are {', '.join(REQUIRES)}: "
                                "add it to hardware/features.py and runtime/kernels/cpu_features.cpp")
        found += [name for name in REQUIRES[feature] if name not in found]
        if feature in ("sve", "sve2", "rvv"):
            if bits is None:
                raise HardwareError(f"'{feature}' needs the length of the vectors: add -vector_bits_128 (or 256 ...)")
            found += [f"{'rvv' if feature == 'rvv' else 'sve'}_bits_{bits}"]
    return list(dict.fromkeys(found))


def check_triple(triple):
    """Raises what is wrong with the text, by Halide's own reading of it."""
    import halide

    try:
        target = halide.Target(triple)
    except Exception as error:  # Halide's error type is not exported
        raise HardwareError(f"'{triple}' is no Halide target ({first_line(error)}): expected <processor>-<bits>-<system>-<feature>-..., "
                            "as in arm-64-linux-arm_dot_prod; features are those of Halide::Target") from None
    expected = "wasmrt" if architecture(triple) == "wasm-32" else "linux"
    system = "-".join(triple.split("-")[2:3])
    if system != expected:
        raise HardwareError(f"'{triple}': expected an operating system after the processor, {expected}, found '{system}'")
    if not target.supported():
        raise HardwareError(f"this Halide was built without a compiler for '{triple}'")


def first_line(error):
    text = re.sub(r"^Error: ", "", str(error).strip())
    return text.splitlines()[0] if text else type(error).__name__
