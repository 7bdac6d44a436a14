#!/usr/bin/env python3
"""How hardware/mca.py finds inner loops, and that llvm-mca's answers are read in the right units."""

import shutil
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "hardware"))
import mca  # noqa: E402

X86 = """
.LBB0_1:                                # outer
	xorl	%eax, %eax
.LBB0_2:                                # %"inner"
	vmovaps	(%rcx), %ymm3
	vfmadd231ps	%ymm3, %ymm2, %ymm1     # ymm1 = (ymm2 * ymm3) + ymm1
	vfmadd231ps	%ymm3, %ymm2, %ymm4
	vfmadd231ps	%ymm3, %ymm2, %ymm5
	vfmadd231ps	%ymm3, %ymm2, %ymm6
	incq	%rax
	jne	.LBB0_2
	vfmadd231ps	%ymm3, %ymm2, %ymm6
	jne	.LBB0_1
.LBB0_3:
	incq	%rax
	jne	.LBB0_3
"""
ARM = """
.LBB0_2:                                // inner
	ldr	q1, [x0], #16
	fmla	v2.4s, v1.4s, v0.s[0]
	fmla	v3.4s, v1.4s, v0.s[1]
	fmla	v4.4s, v1.4s, v0.s[2]
	fmla	v5.4s, v1.4s, v0.s[3]
	subs	x1, x1, #1
	b.ne	.LBB0_2
"""
RISCV = """
.LBB0_2:                                # inner
	vle32.v	v1, (a0)
	vfmacc.vf	v2, fa0, v1
	vfmacc.vf	v3, fa1, v1
	vfmacc.vf	v4, fa2, v1
	vfmacc.vf	v5, fa3, v1
	addi	a1, a1, -1
	bnez	a1, .LBB0_2
"""


class Loops(unittest.TestCase):
    def test_only_straight_loops_count(self):
        self.assertEqual(len(mca.innermost_loops(X86, "x86-64")), 2)
        body, count = mca.hottest(X86, "x86-64")
        self.assertEqual((len(body), count), (7, 4))

    def test_other_architectures(self):
        for text, arch in ((ARM, "arm-64"), (RISCV, "riscv-64")):
            body, count = mca.hottest(text, arch)
            self.assertEqual((len(body), count), (7, 4), arch)
        self.assertIn("#16", mca.hottest(ARM, "arm-64")[0][0])

    def test_no_multiply_adds(self):
        self.assertEqual(mca.hottest(".LBB0_3:\n\tincq\t%rax\n\tjne\t.LBB0_3\n", "x86-64"), ([], 0))

    @unittest.skipUnless(shutil.which(mca.MCA), f"no {mca.MCA}: apt-get install llvm-19")
    def test_cycles(self):
        # Zen 3 starts two multiply-adds a cycle, each with a latency of four: twelve in a row that wait for nothing take six.
        self.assertAlmostEqual(mca.cycles(mca.peak_bodies(["%ymm0"], "x86-64")[0], "znver3", "x86_64-linux-gnu"), 6, delta=0.1)
        one = ["\tvfmadd231ps %ymm0, %ymm1, %ymm2"]
        self.assertAlmostEqual(mca.cycles(one, "znver3", "x86_64-linux-gnu"), 4, delta=0.1)


if __name__ == "__main__":
    unittest.main()
