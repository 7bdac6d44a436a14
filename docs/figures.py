#!/usr/bin/env python3
"""Pictures of docs/mean-field.md and docs/bottleneck.md from the program's results; needs matplotlib (pip install matplotlib).

  figures.py propagation OUT.png TITLE RESULT.json [BOUNDARY ...]   RESULT: kindling theory propagate ... --json
  figures.py phases OUT.png TITLE RESULT.json                       RESULT: kindling theory phase-diagram ... --json
  figures.py noise OUT.png RUNS.jsonl                               RUNS: kindling information --noise-variance ... --results
  figures.py curves OUT.png RUNS.jsonl                              RUNS: kindling compare --curve-at ... --results
  figures.py teacher OUT.png RUNS.jsonl SAMPLES [train]             RUNS: kindling evaluate teacher --results, those of so many samples;
                                                                    "train": the training loss beside it, dotted
"""
import json
import math
import sys
from collections import defaultdict

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def propagation(out, title, path, *boundaries):
    result = json.load(open(path))
    layers = sorted({row["layer"] for row in result["rows"]})
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6))
    for place, layer in enumerate(layers):
        rows = sorted((row for row in result["rows"] if row["layer"] == layer), key=lambda row: row["weight_variance"])
        x = [row["weight_variance"] for row in rows]
        colour = plt.cm.viridis(place / max(1, len(layers) - 1) * 0.9)
        for axis, name in zip(axes, ("length", "correlation")):
            known = [(v, row[name]) for v, row in zip(x, rows) if row[name]["mean"] is not None]
            mean = [n["mean"] for _, n in known]
            band = [n["stddev"] or 0 for _, n in known]
            at = [v for v, _ in known]
            axis.plot(at, mean, "o", color=colour, markersize=3, label=f"{layer}")
            # A band as wide as the length itself would reach below zero: on the logarithmic axis it is mirrored instead.
            low = [m - b if b < m / 2 or name == "correlation" else m * m / (m + b) for m, b in zip(mean, band)]
            axis.fill_between(at, low, [m + b for m, b in zip(mean, band)], color=colour, alpha=0.25, linewidth=0)
            axis.plot(x, [math.nan if row[name]["theory"] is None else row[name]["theory"] for row in rows], "-",
                      color=colour, linewidth=0.8)
    for axis in axes:
        axis.set_xlabel(r"$\sigma_w^2$")
        for boundary in boundaries:
            axis.axvline(float(boundary), color="grey", linestyle="--", linewidth=0.8)
    axes[0].set_yscale("log")
    axes[0].set_ylim(1e-3, 1e4)
    axes[0].set_ylabel("length q")
    axes[1].set_ylim(-0.05, 1.05)
    axes[1].set_ylabel("correlation c")
    axes[1].legend(title="layer", fontsize=7, title_fontsize=7)
    figure.suptitle(title, fontsize=10)
    figure.tight_layout()
    figure.savefig(out, dpi=90)


def phases(out, title, path):
    result = json.load(open(path))
    figure, axis = plt.subplots(figsize=(4.5, 3.4))
    colours = {"ordered": "#7aa6c2", "critical": "#bbbbbb", "chaotic": "#e0a36f"}
    for point in result["points"]:
        diverging = point["length"]["kind"] == "diverging"
        axis.plot(point["weight_variance"], point["bias_variance"], "s", markersize=6,
                  color="#dddddd" if diverging else colours[point["phase"]])
    chaos = [(b["order_chaos"], b["bias_variance"]) for b in result["boundaries"] if b["order_chaos"]]
    axis.plot([c for c, _ in chaos], [b for _, b in chaos], "k-", linewidth=1.2)
    if result["length_boundary"]:
        axis.axvline(result["length_boundary"], color="black", linestyle="--", linewidth=1)
    widths = [p["weight_variance"] for p in result["points"]]
    axis.set_xlim(min(widths), max(widths))
    axis.set_xlabel(r"$\sigma_w^2$")
    axis.set_ylabel(r"$\sigma_b^2$")
    axis.set_title(title, fontsize=9)
    figure.tight_layout()
    figure.savefig(out, dpi=90)


def draw_method(axis, method, place, x, mean, low, high):
    """A line with its band, in the colour of its place; controls are dashed."""
    colour = plt.cm.tab10(place % 10)
    axis.plot(x, mean, "--" if "he-matched" in method else "-", color=colour, linewidth=1.2, label=method)
    axis.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)


def mean_and_spread(rows):
    """Of every column; the spread is the standard deviation over these rows."""
    columns = list(zip(*rows))
    mean = [sum(column) / len(rows) for column in columns]
    return mean, [math.sqrt(sum((v - m) ** 2 for v in column) / len(rows)) for column, m in zip(columns, mean)]


def teacher(out, path, samples, *also):
    curves = defaultdict(list)
    for line in open(path):
        run = json.loads(line)
        if run["settings"]["samples"] != int(samples):
            continue
        curves[(run["settings"]["optimizer"], run["task"], run["method"])].append(run)
    optimizers = sorted({key[0] for key in curves})
    tasks = [t for t in ("standard", "simple", "complex") if any(key[1] == t for key in curves)]
    methods = list(dict.fromkeys(key[2] for key in curves))
    figure, axes = plt.subplots(len(optimizers), len(tasks), figsize=(4 * len(tasks), 3.2 * len(optimizers)),
                                squeeze=False)
    for i, optimizer in enumerate(optimizers):
        for j, task in enumerate(tasks):
            axis = axes[i][j]
            for place, method in enumerate(methods):
                runs = [r for r in curves.get((optimizer, task, method), []) if "failure" not in r]
                if not runs:
                    continue
                epochs = runs[0].get("epochs", range(len(runs[0]["centred_loss"])))[1:]
                mean, spread = mean_and_spread([[math.log(v) for v in r["centred_loss"][1:]] for r in runs])
                draw_method(axis, method, place, epochs, [math.exp(m) for m in mean],
                            [math.exp(m - s) for m, s in zip(mean, spread)],
                            [math.exp(m + s) for m, s in zip(mean, spread)])
                if "train" in also:
                    train, _ = mean_and_spread([r["train_loss"][1:] for r in runs])
                    axis.plot(epochs, train, ":", color=axis.lines[-1].get_color(), linewidth=0.7)
            axis.set_xscale("log")
            axis.set_yscale("log")
            axis.set_title(f"{task} teacher, {optimizer}", fontsize=9)
            axis.set_xlabel("epoch")
    axes[0][0].set_ylabel("validation loss, output means removed")
    axes[0][0].legend(fontsize=6)
    figure.tight_layout()
    figure.savefig(out, dpi=90)


def noise(out, path):
    estimates = defaultdict(lambda: defaultdict(list))
    for line in open(path):
        run = json.loads(line)
        estimates[run["run"]["estimator"]][run["run"]["noise_variance"]].append(run["estimate"]["nats"])
    figure, axis = plt.subplots(figsize=(4.5, 3.2))
    for name, of in sorted(estimates.items()):
        # The variance 0 has no place on a logarithmic axis: it stands at the left end.
        at = sorted(of)
        least = min(v for v in at if v > 0)
        mean = [sum(of[v]) / len(of[v]) for v in at]
        line, = axis.plot([v or least / 10 for v in at], mean, "o-", markersize=3, label=name)
        axis.fill_between([v or least / 10 for v in at], [min(of[v]) for v in at], [max(of[v]) for v in at], color=line.get_color(), alpha=0.2)
    axis.set_xscale("log")
    axis.set_xlabel("variance of the noise (left end: 0)")
    axis.set_ylabel("nats on fresh pairs")
    axis.legend()
    figure.tight_layout()
    figure.savefig(out, dpi=90)


def curves(out, path):
    """Training accuracy against steps, a panel a data set, mean and standard deviation over seeds."""
    panels = defaultdict(lambda: defaultdict(list))
    for line in open(path):
        run = json.loads(line)
        if "train_errors" in run:
            panels[run["data"]["name"]][run["method"]].append((run["train"]["curve_at"], run["train_errors"]))
    names = sorted({method for methods in panels.values() for method in methods})
    figure, axes = plt.subplots(1, len(panels), figsize=(4.5 * len(panels), 3.4), squeeze=False)
    for axis, (name, methods) in zip(axes[0], panels.items()):
        for method, runs in sorted(methods.items()):
            place, steps = names.index(method), runs[0][0]
            mean, spread = mean_and_spread([[1 - e for e in errors] for _, errors in runs])
            draw_method(axis, method, place, steps, mean, [m - s for m, s in zip(mean, spread)],
                        [m + s for m, s in zip(mean, spread)])
        axis.set_xscale("log")
        axis.set_title(name, fontsize=9)
        axis.set_xlabel("steps")
    axes[0][0].set_ylabel("training accuracy")
    axes[0][0].legend(fontsize=6)
    figure.tight_layout()
    figure.savefig(out, dpi=90)


if __name__ == "__main__":
    commands = {"propagation": propagation, "phases": phases, "teacher": teacher, "noise": noise, "curves": curves}
    if len(sys.argv) < 3 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    commands[sys.argv[1]](*sys.argv[2:])
