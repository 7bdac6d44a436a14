#!/usr/bin/env python3
"""The estimates of ./dev gpu --roofline: every kernel has one, and they are what a hand computes."""

import re
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "hardware"))
import roofline  # noqa: E402
import table  # noqa: E402

KERNELS = table.kernels_of((ROOT / "generators" / "kernels.cmake").read_text())


class Roofline(unittest.TestCase):
    def test_every_kernel_has_one_line(self):
        for kernel in KERNELS:
            lines = [expression for expression, *_ in roofline.WORK if re.fullmatch(expression, kernel)]
            self.assertEqual(len(lines), 1, f"{kernel}: {lines}")
        for expression, *_ in roofline.WORK:
            self.assertTrue(any(re.fullmatch(expression, kernel) for kernel in KERNELS), expression)

    def test_arithmetic_bounds_a_product(self):
        seconds, bound = roofline.estimate("dense_forward", "A100")
        self.assertEqual(bound, "arithmetic")
        self.assertAlmostEqual(seconds, 2 * 4096 * 1024 * 1024 / (0.75 * 19.5e12))

    def test_memory_bounds_a_step(self):
        seconds, bound = roofline.estimate("adam_step", "H100")  # reads four arrays, writes three
        self.assertEqual(bound, "memory")
        self.assertAlmostEqual(seconds, 7 * 4 * 2**24 / 3.35e12)

    def test_products_held_to_the_share_are_those_of_the_tests(self):
        products = re.search(r'set\(products "([^"]*)"', (ROOT / "tests" / "CMakeLists.txt").read_text())[1]
        for kernel in KERNELS:
            if roofline.work_of(kernel)[0] == roofline.TESTED:
                self.assertRegex(kernel, products)

    def test_kernels_with_one_estimate_share_a_line(self):
        lines = roofline.table(["sgd_step", "dense_forward", "dense_forward_tanh"]).splitlines()
        self.assertEqual(len(lines), 4)
        self.assertIn("| dense_forward, dense_forward_tanh | 4.29 |", lines[3])


if __name__ == "__main__":
    unittest.main()
