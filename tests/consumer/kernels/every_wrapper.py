"""Every kernel wrapper of runtime/kernels has its function in the C interface.

usage: every_wrapper.py <repository> <C file to write>

A wrapper is a function that takes an Execution first, outside residency.h: its functions move arrays, and callers of the
C interface own theirs. The C file names every declared function, so that linking it shows
that each is defined.
"""
import pathlib
import re
import sys

root, output = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
headers = [root / "include/kindling/kernels.h", *sorted((root / "include/kindling/kernels").glob("*.h"))]


def code(path):
    return re.sub(r"/\*.*?\*/|//[^\n]*", "", path.read_text(), flags=re.S)


declared = sorted({name for h in headers for name in re.findall(r"\b(kindling_\w+)\s*\(", code(h))})
wrappers = {}
for header in sorted((root / "runtime/kernels").glob("*.h")):
    if header.name == "residency.h":
        continue
    # Declarations at the start of a line: members of classes are indented.
    for name in re.findall(r"^\w[\w:<>, ]* (\w+)\(const Execution& ", code(header), flags=re.M):
        wrappers[name] = header.name
missing = [f"  {name} ({header})" for name, header in wrappers.items() if f"kindling_{name}" not in declared]
if len(wrappers) < 20:
    sys.exit(f"found only {len(wrappers)} wrappers: this script does not read the headers as they are written")
if missing:
    sys.exit("wrappers without a function in include/kindling/kernels:\n" + "\n".join(missing))
umbrella = code(headers[0])
for header in headers[1:]:
    if f"<kindling/kernels/{header.name}>" not in umbrella:
        sys.exit(f"include/kindling/kernels.h does not include kernels/{header.name}")
lines = ["#include <kindling/kernels.h>", "", "typedef void (*function)(void);", "extern const function every_function[];",
         "const function every_function[] = {", *(f"    (function){name}," for name in declared), "};", ""]
output.write_text("\n".join(lines))
print(f"{len(wrappers)} wrappers, {len(declared)} functions")
