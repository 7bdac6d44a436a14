#!/usr/bin/env python3
"""What ./dev retarget and ./dev cross decide before anything is compiled, and how they read what a build printed."""

import os
import re
import sys
import tempfile
import time
import unittest
import unittest.mock
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "hardware"))
import cross  # noqa: E402
import features  # noqa: E402
import retarget  # noqa: E402
import rows  # noqa: E402
import table  # noqa: E402

TEXT = """# comment
kindling_add_target(one  cpu  x86-64-linux-sse41  sse4.1)
kindling_add_target(two  cpu  arm-64-linux-sve2-vector_bits_128  sve2 sve_bits_128 INHERIT one)

kindling_compile_as(two "^a" arm-64-linux)
"""


class Rows(unittest.TestCase):
    def test_reading(self):
        found = rows.read_rows(TEXT)
        self.assertEqual(list(found), ["one", "two"])
        self.assertEqual(found["two"].requires, ["sve2", "sve_bits_128"])
        self.assertEqual(found["two"].inherit, "one")
        self.assertEqual(found["one"].inherit, "")

    def test_the_real_rows_read_and_write_back(self):
        for row in rows.read_rows().values():
            self.assertEqual(vars(rows.read_rows(row.line())[row.name]), vars(row))
            self.assertIn(rows.processor(row.triple).name, ("x86_64", "aarch64", "riscv64", "wasm32"))

    def test_a_new_line_follows_the_last_row(self):
        row = rows.Row("three", "cpu", "arm-64-linux", ["neon"], "two")
        text = retarget.with_row(TEXT, row)
        self.assertEqual(list(rows.read_rows(text)), ["one", "two", "three"])
        self.assertLess(text.index("three"), text.index("kindling_compile_as"))
        self.assertEqual(text.replace(row.line(), ""), TEXT)

    def test_exceptions_name_the_kernels(self):
        text = retarget.with_exceptions(TEXT, "three", {"b": "why", "a": "why"}, "c_source")
        self.assertTrue(text.endswith('kindling_compile_as(three "^(a|b)$" c_source)\n'))

    def test_names(self):
        known = rows.read_rows(TEXT)
        retarget.check_name("zen_5", known)
        for name in ["", "5a", "A", "a-b", "a b", "one"]:
            with self.assertRaises(rows.HardwareError, msg=name):
                retarget.check_name(name, known)


class Triples(unittest.TestCase):
    def test_requirements(self):
        self.assertEqual(features.requirements("arm-64-linux-arm_dot_prod"), ["neon", "dotprod"])
        self.assertEqual(features.requirements("riscv-64-linux-rvv-vector_bits_256"), ["rvv", "rvv_bits_256"])
        self.assertEqual(features.requirements("x86-64-linux-sse41-avx-avx512"), ["sse4.1", "avx", "avx512f", "avx512cd"])

    def test_the_rows_require_what_their_triples_say(self):
        for row in rows.read_rows().values():
            if row.kind == "cpu":
                self.assertLessEqual(set(row.requires) - {"avx"}, set(features.requirements(row.triple)), row.name)

    def refused(self, triple, said):
        with self.assertRaisesRegex(rows.HardwareError, said):
            features.check_triple(triple)
            features.requirements(triple)

    def test_bad_triples(self):
        self.refused("nonsense", "is no Halide target")
        self.refused("arm-64-linux-no_such_feature", "is no Halide target")
        self.refused("powerpc-64-linux", "tool chains for")
        self.refused("x86-64-windows", "operating system")
        self.refused("wasm-32-linux", "wasmrt")
        self.refused("x86-64-wasmrt", "linux")
        self.refused("", "tool chains for")
        self.refused("arm-64-linux-sve2", "vector_bits_128")
        self.refused("arm-64-linux-sve2-vector_bits_100", "128, 256")
        self.refused("x86-64-linux-avx512_zen5", "cpu_features.cpp")
        self.refused("arm-64-linux-no_runtime", "the build decides")

    def test_missing_tools_say_how_to_get_them(self):
        with self.assertRaisesRegex(rows.HardwareError, "qemu-aarch64.*apt-get install .*qemu-user"):
            rows.check_tools(rows.PROCESSORS["arm-64"], find=lambda command: None if "qemu" in command else command)
        rows.check_tools(rows.PROCESSORS["arm-64"], find=lambda command: command)
        with self.assertRaisesRegex(rows.HardwareError, "toolchains/z80.cmake"):
            rows.check_tools(rows.Processor("z80", [], [], ""), find=lambda command: command)

    def test_webassembly_says_when_there_is_nothing_to_execute_it(self):
        which = rows.PROCESSORS["wasm-32"]
        with self.assertRaisesRegex(rows.HardwareError, "apt-get install .*wasi-libc"):
            rows.check_tools(which, find=lambda command: None)
        with self.assertRaisesRegex(rows.HardwareError, "pip install wasmtime"):
            rows.check_tools(which, find=lambda command: command, module=lambda name: None)
        rows.check_tools(which, find=lambda command: command, module=lambda name: name)


class Programs(unittest.TestCase):
    def test_only_what_the_tests_execute_is_built(self):
        arm, wasm = rows.PROCESSORS["arm-64"], rows.PROCESSORS["wasm-32"]
        self.assertEqual(cross.programs_of(arm, ["kernel.a.arm64", "kernel.b.arm64"]), ["kernel_tests"])
        self.assertEqual(cross.programs_of(arm, ["fuzz.a.arm64", "cross.init.arm64"]), ["kernel_fuzz", "kindling_program"])
        self.assertEqual(cross.programs_of(wasm, ["cross.init.wasm"]), ["kindling_module"])

    def test_the_core_names_kernels(self):
        kernels = table.kernels_of((ROOT / "generators" / "kernels.cmake").read_text())
        chosen = [kernel for kernel in kernels if re.search(cross.CORE, kernel)]
        self.assertEqual(len(chosen), 29)
        self.assertIn("dense_forward", chosen)


class Tuning(unittest.TestCase):
    def tuned(self, script, seconds):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "bench").mkdir()
            Path(folder, "bench", "tune.py").write_text(script)
            with unittest.mock.patch.object(retarget, "ROOT", Path(folder)):
                return retarget.tune_family("row", "family", seconds)

    def test_what_tune_says_is_reported(self):
        self.assertEqual(self.tuned("import sys; print(*sys.argv[1:])", 60), "row family")
        self.assertRegex(self.tuned("import sys; sys.exit('no such row')", 60), "FAILED with 1: no such row")

    def test_the_time_holds_for_all_that_tune_starts(self):
        begin = time.monotonic()
        said = self.tuned("import subprocess; subprocess.run(['sleep', '600'])", 2)
        self.assertRegex(said, "not finished")
        self.assertLess(time.monotonic() - begin, 120)
        self.assertRegex(self.tuned("", 0), "not begun")


class Table(unittest.TestCase):
    ROW = rows.Row("arm64", "cpu", "arm-64-linux", ["neon"])

    def cell(self, **status):
        results = {f"{kind}.a.arm64": (s, "") for kind, s in status.items()}
        return table.cell(self.ROW, "a", results, "")

    def test_a_cell_says_what_was_executed(self):
        self.assertEqual(self.cell(kernel="run", fuzz="run"), "passed")
        self.assertEqual(self.cell(kernel="run"), "passed")
        self.assertEqual(self.cell(kernel="run", fuzz="fail"), "FAILED")
        self.assertEqual(self.cell(kernel="fail", fuzz="run"), "FAILED")
        self.assertEqual(self.cell(fuzz="run"), "fuzzed")
        self.assertEqual(self.cell(kernel="notrun"), "compiled")
        self.assertEqual(self.cell(), "-")

    def test_the_last_report_counts(self):
        with tempfile.TemporaryDirectory() as folder:
            reports = []
            for at, (name, status) in enumerate([("kernel.a.arm64", "fail"), ("kernel.b.arm64", "run"), ("kernel.a.arm64", "run")]):
                reports.append(Path(folder, f"{at}.xml"))
                reports[-1].write_text(f'<testsuite><testcase name="{name}" status="{status}"/></testsuite>')
                os.utime(reports[-1], (at, at))
            results = table.read_results(reversed(reports))
        self.assertEqual({name: status for name, (status, _) in results.items()}, {"kernel.a.arm64": "run", "kernel.b.arm64": "run"})


    SAID = ("sm_80 _kernel_a: 96 registers, 0 bytes shared\nsm_80 _kernel_b: 26 registers, 2048 bytes shared\n"
            "sm_80: 64 multiply-adds in an inner loop of 76 instructions, share 0.842\n"
            "sm_80: 8 multiply-adds in an inner loop of 9 instructions, share 0.889\n"
            "sm_90 _kernel_a: 128 registers, 0 bytes shared\n")

    def test_what_ptxas_made_of_a_kernel(self):
        # 96 registers: 65536 / (96 x 128) = 5 blocks of 128 of 2048 threads; the share is that of the heaviest loop.
        self.assertEqual(table.ptx_line("a", self.SAID), "| a | 96 / 128 | 2048 / 0 | 31% / 25% | 0.84 / - |")

    def test_only_whole_reports_are_tabled(self):
        results = {"ptx.a": ("run", self.SAID), "ptx.b": ("fail", self.SAID), "ptx.c": ("run", "skipped: no ptxas"),
                   "ptx.d": ("run", self.SAID + "...[This part of the test output was removed since")}
        text = table.ptx_table(["a", "b", "c", "d", "e"], results)
        self.assertEqual([line.split(" | ")[0] for line in text.splitlines()[2:]], ["| a"])
        self.assertEqual(table.ptx_table(["e"], results), "")

    def test_a_table_is_put_between_its_own_marks(self):
        page = f"one\n{table.BEGIN}old\n{table.END}two\n{table.BEGIN_PTX}old\n{table.END}three\n"
        self.assertEqual(table.replaced(page, table.BEGIN_PTX, "new\n"), page.replace(f"old\n{table.END}three", f"new\n{table.END}three"))
        with self.assertRaisesRegex(rows.HardwareError, "no place"):
            table.replaced("one\n", table.BEGIN, "new\n")


class Output(unittest.TestCase):
    def test_failed_kernels(self):
        output = ("[1/3] Kernel a__new\n"
                  "FAILED: generated/new/dense_forward__new.o /b/generated/new/dense_forward__new.o\n"
                  "cd /b && /b/generators/dense_generator -g dense_forward -f dense_forward__new\n"
                  "Intrinsic has incorrect argument type!\nmore\n"
                  "[2/3] Kernel patches__new\n"
                  "FAILED: generated/new/patches__new.o\n"
                  "cd /b && /b/generators/layout_generator -g patches\n"
                  "Assertion failed\n"
                  "ninja: build stopped: cannot make progress due to previous errors.\n")
        self.assertEqual(retarget.failed_kernels(output, "new"),
                         {"dense_forward": "Intrinsic has incorrect argument type!", "patches": "Assertion failed"})
        self.assertEqual(retarget.failed_kernels("[1/1] Kernel a__new\n", "new"), {})


if __name__ == "__main__":
    unittest.main()
