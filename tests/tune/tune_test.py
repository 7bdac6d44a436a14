#!/usr/bin/env python3
"""The decisions of bench/tune.py on made-up times, and what the generator programs do with facts that they are given."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "bench"))
import tune  # noqa: E402

GENERATOR = None


def row(contestant, shape, seconds=None):
    found = {"kernel": "k", "shape": shape, "threads": 1, "contestant": contestant}
    return {**found, "median_seconds": seconds} if seconds else {**found, "error": "wrong answer"}


class Decisions(unittest.TestCase):
    def test_mean_and_worst_row(self):
        rows = [row("a", "1", 2.0), row("b", "1", 1.0), row("a", "2", 1.0), row("b", "2", 2.0)]
        mean, worst = tune.compare(rows, "a", "b")
        self.assertAlmostEqual(mean, 1.0)
        self.assertAlmostEqual(worst, 0.5)

    def test_a_wrong_candidate_is_out(self):
        self.assertIsNone(tune.compare([row("a", "1", 1.0), row("b", "1")], "a", "b"))

    def test_a_wrong_incumbent_is_an_error(self):
        with self.assertRaisesRegex(tune.TuneError, "a is wrong itself"):
            tune.compare([row("a", "1"), row("b", "1", 1.0)], "a", "b")

    def test_no_rows_is_an_error(self):
        with self.assertRaisesRegex(tune.TuneError, "no rows"):
            tune.compare([], "a", "b")

    def test_acceptance(self):
        self.assertTrue(tune.acceptable((1.02, 0.98), 0.01, 0.03))
        self.assertFalse(tune.acceptable((1.005, 1.0), 0.01, 0.03))
        self.assertFalse(tune.acceptable((1.10, 0.90), 0.01, 0.03))
        self.assertFalse(tune.acceptable(None, 0.01, 0.03))


class Lines(unittest.TestCase):
    def test_a_line_is_replaced_and_others_stay(self):
        text = '# why\nkindling_tune(avx2 "^dense" tile_rows=5)\nkindling_tune(avx2 "^philox" parallel_grain=9)\n'
        self.assertEqual(tune.read_facts(text, "avx2", "^dense"), {"tile_rows": "5"})
        self.assertEqual(tune.read_facts(text, "sse41", "^dense"), {})
        changed = tune.with_line(text, "avx2", "^dense", {"tile_rows": 6, "depth_block": 224})
        self.assertEqual(tune.read_facts(changed, "avx2", "^dense"), {"tile_rows": "6", "depth_block": "224"})
        self.assertEqual(tune.read_facts(changed, "avx2", "^philox"), {"parallel_grain": "9"})
        self.assertTrue(changed.startswith("# why\n"))

    def test_values_of_the_command_line(self):
        self.assertEqual(tune.parse_facts(["few_rows=1,2"]), {"few_rows": [1, 2]})
        for text in ["few_rows", "few_rows=", "few_rows=x", "few_rows=1,", "few_rows=1,2,3,4,5,6,7,8"]:
            with self.assertRaises(tune.TuneError):
                tune.parse_facts([text])


class Facts(unittest.TestCase):
    def compile(self, facts, folder):
        return subprocess.run(
            [GENERATOR, "-g", "dense_forward", "-f", "k", "-n", "k", "-e", "assembly", "-o", folder,
             "target=x86-64-linux-sse41-no_runtime"], env={"KINDLING_FACTS": facts}, capture_output=True, text=True)

    def test_facts_change_the_kernel(self):
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
            self.assertEqual(self.compile("", one).returncode, 0)
            self.assertEqual(self.compile("tile_rows=2", other).returncode, 0)
            self.assertNotEqual(Path(one, "k.s").read_text(), Path(other, "k.s").read_text())

    def test_unknown_facts_end_the_build(self):
        for facts, said in [("tile_row=2", "names no fact"), ("tile_rows=0", "1 or more"), ("tile_rows=2x", "1 or more"),
                            ("tile_rows", "1 or more"), ("=2", "names no fact")]:
            with tempfile.TemporaryDirectory() as folder:
                done = self.compile(facts, folder)
                self.assertNotEqual(done.returncode, 0, facts)
                self.assertIn(said, done.stderr + done.stdout)


if __name__ == "__main__":
    GENERATOR = sys.argv.pop(1)
    unittest.main()
