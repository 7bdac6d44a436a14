#!/usr/bin/env python3
"""Tables of docs/bottleneck.md from results files: test accuracy by method, and differences paired over seeds.

    python3 bench/experiments/bottleneck_table.py docs/results/bottleneck-mnist.jsonl

Intervals are Student's at 95 %. A difference counts as yes or no when its interval excludes zero, else it is undecided.
"""

import json
import math
import sys

# 97.5 % quantiles of Student's law by degrees of freedom.
STUDENT = [0, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228]


def interval(values):
    n = len(values)
    mean = sum(values) / n
    if n < 2:
        return mean, math.inf
    deviation = math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1))
    return mean, STUDENT[min(n - 1, len(STUDENT) - 1)] * deviation / math.sqrt(n)


def method(run):
    if run["objective"] == "bottleneck":
        return "I(Y; L) alone" if run["beta"] == 0 else f"bottleneck, beta {run['beta']:g}"
    if run["beta"] == 0 and run["gamma"] == 0:
        return "cross entropy"
    return f"{run['alpha']:g} CE - {run['beta']:g} I(Y; Z) + {run['gamma']:g} I(X; Z + noise)"


def settings(run):
    widths = "-".join(map(str, run["critic"]["widths"]))
    return f"{run['iterations']} iterations, critics {widths}"


def main():
    groups = {}
    for path in sys.argv[1:]:
        for line in open(path, encoding="utf-8"):
            result = json.loads(line)
            run = result["run"]
            group = groups.setdefault((run["model"], run["data"]["name"], run["data"]["train"]), {})
            name = method(run)
            key = name if name == "cross entropy" else f"{name} ({settings(run)})"
            group.setdefault(key, {})[run["seed"]] = result
    for (model, data, count), methods in groups.items():
        print(f"{model}, {data}, {count} training samples\n")
        print("| method | seeds | test accuracy % | separation (hidden) | minus cross entropy | better? |")
        print("| --- | --- | --- | --- | --- | --- |")
        base = methods.get("cross entropy", {})
        for name, results in methods.items():
            mean, half = interval([100 * (1 - r["test_error"]) for r in results.values()])
            ratio, _ = interval([r["separation"]["hidden"] for r in results.values()])
            paired = [100 * (base[s]["test_error"] - results[s]["test_error"]) for s in results if s in base]
            text, verdict = "", ""
            if results is not base and paired:
                difference, width = interval(paired)
                text = f"{difference:+.2f} ± {width:.2f}"
                verdict = "undecided" if not abs(difference) > width else "yes" if difference > 0 else "no"
            print(f"| {name} | {len(results)} | {mean:.2f} ± {half:.2f} | {ratio:.2f} | {text} | {verdict} |")
        firsts = [m for m in methods if m.startswith("I(Y; L) alone")]
        for first in firsts:
            tail = first[len("I(Y; L) alone"):]
            for full in [m for m in methods if m.startswith("bottleneck, beta") and m.endswith(tail)]:
                paired = [100 * (methods[first][s]["test_error"] - methods[full][s]["test_error"])
                          for s in methods[full] if s in methods[first]]
                if paired:
                    difference, width = interval(paired)
                    verdict = "undecided" if not abs(difference) > width else "yes" if difference > 0 else "no"
                    print(f"\nsecond term ({full} minus {first}): {difference:+.2f} ± {width:.2f} points: {verdict}")
        print()


if __name__ == "__main__":
    main()
