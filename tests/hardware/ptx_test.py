#!/usr/bin/env python3
"""How hardware/ptx.py reads machine code and what it says of occupancy."""

import subprocess
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "hardware"))
import ptx  # noqa: E402

SASS = """
.text.kernel:
        /*0000*/                   S2R R1, SR_TID.X ;
.L_x_1:
        /*0010*/                   LDG.E.128 R4, [R2] ;
.L_x_0:
        /*0020*/                   FFMA R8, R4, R5, R8 ;
        /*0030*/                   FFMA R9, R4, R6, R9 ;
        /*0040*/              @!P0 IADD3 R2, R2, 0x1, RZ ;
        /*0050*/               @P1 BRA `(.L_x_0) ;
        /*0060*/                   FFMA R8, R4, R5, R8 ;
        /*0070*/               @P2 BRA `(.L_x_1) ;
        /*0080*/                   EXIT ;
.L_x_2:
        /*0090*/                   BRA `(.L_x_2);
"""


class Loops(unittest.TestCase):
    def test_only_the_innermost(self):
        loops = ptx.innermost_loops(SASS)
        self.assertIn(["FFMA", "FFMA", "IADD3", "BRA"], loops)
        self.assertEqual(len(loops), 2)

    def test_the_heaviest(self):
        self.assertEqual(ptx.multiply_add_loop(SASS), (2, 4, 0.5))
        self.assertEqual(ptx.multiply_add_loop(""), (0, 0, 0.0))


class Occupancy(unittest.TestCase):
    def test_values_of_the_calculator(self):
        # 128 threads: 65536 / (registers, by 8) / 128 blocks.
        self.assertEqual(ptx.occupancy("sm_80", 32, 0, 128), 1.0)
        self.assertEqual(ptx.occupancy("sm_80", 64, 0, 128), 0.5)
        self.assertEqual(ptx.occupancy("sm_80", 96, 0, 128), 0.3125)
        self.assertEqual(ptx.occupancy("sm_80", 168, 0, 128), 0.1875)
        self.assertEqual(ptx.occupancy("sm_80", 255, 0, 128), 0.125)

    def test_shared_memory(self):
        self.assertEqual(ptx.occupancy("sm_80", 32, 80 * 1024, 128), 0.125)


class Benchmark(unittest.TestCase):
    def test_without_a_gpu_nothing_is_reported(self):
        sys.path.insert(0, str(ROOT / "bench"))
        import gpu

        try:
            gpu.device_count()
        except gpu.NoGpu:
            done = subprocess.run([sys.executable, str(ROOT / "bench" / "gpu.py")], capture_output=True, text=True)
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertIn("nothing is reported", done.stderr)
        else:
            self.skipTest("there is a GPU")


if __name__ == "__main__":
    unittest.main()
