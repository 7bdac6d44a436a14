#!/usr/bin/env python3
"""Finds the hardware facts with which a family's kernels run fastest on this machine, and writes them down.

    ./dev tune avx2 dense            sweeps the facts that bench/tuning.json lists for the family, on one row
    ./dev tune avx2 all              every family in turn
    ./dev tune avx2 dense --fact depth_block=128,256,512 --dry-run

One fact at a time, in the order of the file: each candidate value becomes a row of its own in build/tune (same kernels,
other facts), and one process times all of them round-robin against the present values on the family's benchmark rows;
a candidate whose answers are wrong is out. The winner must be faster in the geometric mean, by more than --least,
without losing more than --most-loss on any row, and must do so again in a second, longer measurement: the best of
several noisy numbers is too good to be true. What wins is written as one line of cmake/tuning.cmake; every measurement
is appended to build/tune/<row>-<family>.jsonl.
"""

import argparse
import json
import math
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "tune"
TUNING = ROOT / "cmake" / "tuning.cmake"
AT_ONCE = 7  # candidates in one process; the dispatch table has a fixed number of columns


class TuneError(Exception):
    """What a person has to change."""


def compare(rows, incumbent, candidate):
    """(geometric mean, worst) speed of the candidate relative to the incumbent over the benchmark rows; None if wrong."""
    times = {}
    for row in rows:
        times.setdefault((row["kernel"], row["shape"], row["threads"]), {})[row["contestant"]] = row
    ratios = []
    for name, at in sorted(times.items()):
        if incumbent not in at or candidate not in at:
            raise TuneError(f"the benchmark printed no times of {incumbent} and {candidate} for {name}")
        if "error" in at[incumbent]:
            raise TuneError(f"{incumbent} is wrong itself on {name}: {at[incumbent]['error']}")
        if "error" in at[candidate]:
            return None
        ratios.append(at[incumbent]["median_seconds"] / at[candidate]["median_seconds"])
    if not ratios:
        raise TuneError("the family's benchmark has no rows")
    return math.exp(sum(map(math.log, ratios)) / len(ratios)), min(ratios)


def acceptable(speed, least, most_loss):
    return speed is not None and speed[0] >= 1 + least and speed[1] >= 1 - most_loss


def tuning_line(row, kernels, facts):
    values = " ".join(f"{name}={value}" for name, value in facts.items())
    return f'kindling_tune({row} "{kernels}" {values})\n'


def read_facts(text, row, kernels):
    """The facts that a line of cmake/tuning.cmake gives this row and family already."""
    match = re.search(rf'^kindling_tune\({row} "{re.escape(kernels)}"([^)]*)\)', text, re.MULTILINE)
    return dict(word.split("=", 1) for word in match.group(1).split()) if match else {}


def with_line(text, row, kernels, facts):
    """The text of cmake/tuning.cmake with this row's and family's line replaced, or added at the end."""
    kept = [line for line in text.splitlines(keepends=True) if not line.startswith(f'kindling_tune({row} "{kernels}"')]
    return "".join(kept) + tuning_line(row, kernels, facts)


class Sweep:
    def __init__(self, row, family, spec, options):
        self.row, self.family, self.spec, self.options = row, family, spec, options
        self.log = BUILD / f"{row}-{family}.jsonl"

    def run(self, command):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise TuneError(f"{' '.join(map(str, command))} failed:\n{(done.stdout + done.stderr)[-3000:]}")
        return done.stdout

    def build(self, candidates):
        """Candidate rows <row>_0, <row>_1 ... with these facts."""
        BUILD.mkdir(parents=True, exist_ok=True)
        lines = [
            f'kindling_add_candidate({self.row}_{i} {self.row} "{self.spec["kernels"]}" '
            + " ".join(f"{name}={value}" for name, value in facts.items())
            + ")\n"
            for i, facts in enumerate(candidates)
        ]
        (BUILD / "candidates.cmake").write_text("".join(lines))
        cmake = ROOT / ".venv" / "bin" / "cmake"
        self.run([cmake, "--preset", "release", "-B", BUILD, f"-DKINDLING_TARGETS={self.row}", "-DKINDLING_TESTS=OFF",
                  f"-DKINDLING_CANDIDATES={BUILD / 'candidates.cmake'}"])
        self.run([cmake, "--build", BUILD, "--target", "kindling_bench"])

    def time(self, count, rounds):
        names = [self.row] + [f"{self.row}_{i}" for i in range(count)]
        command = [BUILD / "bin" / "kindling-bench", "--interleave", "--json", "--no-peers", "--filter", self.spec["rows"],
                   "--threads", str(self.options.threads), "--rounds", str(rounds), "--targets", ",".join(names)]
        done = subprocess.run(command, capture_output=True, text=True)
        # 1: an answer was wrong, which its row says.
        if done.returncode not in (0, 1):
            raise TuneError(f"the benchmark failed: {done.stderr[-3000:]}")
        rows = json.loads(done.stdout)["rows"]
        with self.log.open("a") as log:
            for row in rows:
                log.write(json.dumps(row) + "\n")
        return rows

    def sweep(self, present):
        """The best facts found, and the speed against the row as it is now (1.0 where nothing was better)."""
        best = dict(present)
        total = 1.0
        for fact, values in self.spec["facts"].items():
            tried = [v for v in values if str(v) != str(best.get(fact))][:AT_ONCE]
            candidates = [best] + [{**best, fact: v} for v in tried] if best else [{fact: v} for v in tried]
            names = [f"{self.row}_{i}" for i in range(len(candidates))]
            incumbent = names[0] if best else self.row
            self.build(candidates)
            rows = self.time(len(candidates), self.options.rounds)
            speeds = {}
            for name, facts in zip(names, candidates):
                if name != incumbent:
                    speeds[name] = compare(rows, incumbent, name)
                    print(f"  {fact}={facts[fact]}: " + ("wrong answers" if speeds[name] is None else
                          "{:.3f} in the mean, {:.3f} on the worst row".format(*speeds[name])), flush=True)
            good = [n for n in speeds if acceptable(speeds[n], self.options.least, self.options.most_loss)]
            if not good:
                continue
            winner = max(good, key=lambda n: speeds[n][0])
            facts = candidates[names.index(winner)]
            finalists = [best, facts] if best else [facts]
            self.build(finalists)
            again = compare(self.time(len(finalists), 2 * self.options.rounds),
                            f"{self.row}_0" if best else self.row, f"{self.row}_{len(finalists) - 1}")
            if acceptable(again, self.options.least, self.options.most_loss):
                print(f"  {fact}={facts[fact]} wins: {again[0]:.3f} in the mean when measured again", flush=True)
                best, total = facts, total * again[0]
            else:
                print(f"  {fact}={facts[fact]} did not hold when measured again", flush=True)
        return best, total


def parse_facts(texts):
    facts = {}
    for text in texts:
        name, equals, values = text.partition("=")
        if not equals or not re.fullmatch(r"\d+(,\d+)*", values):
            raise TuneError(f"--fact: expected <fact>=<number>[,<number> ...], found '{text}'")
        facts[name] = [int(v) for v in values.split(",")]
        if len(facts[name]) > AT_ONCE:
            raise TuneError(f"--fact: at most {AT_ONCE} values at a time, found {len(facts[name])}")
    return facts


def main():
    spec = json.loads((ROOT / "bench" / "tuning.json").read_text())
    parser = argparse.ArgumentParser(prog="./dev tune", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("row", help="a row of cmake/targets.cmake that runs on this machine")
    parser.add_argument("family", choices=[*spec, "all"], help="a family of bench/tuning.json")
    parser.add_argument("--fact", action="append", default=[], metavar="NAME=V[,V...]", help="sweep this instead; repeatable")
    parser.add_argument("--rounds", type=int, default=9, help="rounds of the first measurement; the second has twice as many")
    parser.add_argument("--threads", default="1", help="threads of the kernels (default 1)")
    parser.add_argument("--least", type=float, default=0.01, help="least gain in the geometric mean (default 0.01)")
    parser.add_argument("--most-loss", type=float, default=0.03, help="greatest loss on any row (default 0.03)")
    parser.add_argument("--dry-run", action="store_true", help="measure, and write nothing into cmake/")
    options = parser.parse_args()
    rows = re.findall(r"^kindling_add_target\((\S+)", (ROOT / "cmake" / "targets.cmake").read_text(), re.MULTILINE)
    if options.row not in rows:
        raise TuneError(f"unknown row '{options.row}': cmake/targets.cmake has {', '.join(rows)}")
    facts = parse_facts(options.fact)
    for family in spec if options.family == "all" else [options.family]:
        family_spec = {**spec[family], **({"facts": facts} if facts else {})}
        print(f"{options.row}, {family}:", flush=True)
        present = read_facts(TUNING.read_text(), options.row, family_spec["kernels"])
        best, total = Sweep(options.row, family, family_spec, options).sweep(present)
        if best == present:
            print("  nothing is better than the present values")
        elif options.dry_run:
            print(f"  {total:.3f} in the mean; not written: " + tuning_line(options.row, family_spec["kernels"], best), end="")
        else:
            TUNING.write_text(with_line(TUNING.read_text(), options.row, family_spec["kernels"], best))
            print(f"  {total:.3f} in the mean; cmake/tuning.cmake now has " + tuning_line(options.row, family_spec["kernels"], best), end="")


if __name__ == "__main__":
    try:
        main()
    except TuneError as error:
        print(f"tune: error: {error}", file=sys.stderr)
        sys.exit(2)
