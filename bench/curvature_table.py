#!/usr/bin/env python3
"""Curvature at the start and the first epochs of training, by initialization, depth and width.

For every method, depth, width, activation and seed: weights by `kindling init`, their curvature by `kindling inspect
--curvature`, and the errors of a few epochs of SGD at each learning rate by `kindling train`. A line of JSON a network is
appended to the results file; what it already holds is not run again. `--table` prints the file as Markdown.
"""
import argparse
import itertools
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile

METHODS = ["xavier", "he", "lsuv", "jacobian", "jacobian:simulate=true"]


def run(program, *arguments):
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode == 4:  # numerical: a network that cannot be trained or initialized is a result
        return None, done.stderr.strip().splitlines()[-1]
    if done.returncode != 0:
        sys.exit(f"{' '.join([program, *map(str, arguments)])}\n{done.stderr}")
    return json.loads(done.stdout), ""


def measure(program, data, row, options):
    model = "-".join(["784"] + [str(row["width"])] * row["depth"] + ["10"]) + ":" + row["activation"]
    common = ["--json", "--quiet", "--threads", options.threads]
    on_data = ["--data", data, "--limit-train", options.train, *common]
    row = dict(row, model=model, data=os.path.basename(data.rstrip("/")))
    with tempfile.TemporaryDirectory() as folder:
        weights = os.path.join(folder, "w.safetensors")
        made, why = run(program, "init", "--model", model, "--method", row["method"], "--seed", row["seed"], "--out",
                        weights, *on_data)
        if made is None:
            return dict(row, failed=why)
        report, why = run(program, "inspect", weights, "--curvature", "--samples", options.samples, "--tolerance",
                          options.tolerance, "--steps", 60, *on_data)
        if report is None:
            return dict(row, failed=why)
        curvature = report["curvature"]
        layers = curvature["layers"]
        row.update(
            loss=curvature["loss"],
            gradient_norm=curvature["gradient_norm"],
            jacobian_norms=[l["jacobian_norm"] for l in layers],
            hessian_norms=[l["hessian"]["norm"] for l in layers],
            largest=[l["hessian"]["largest"] for l in layers],
            gauss_newton=[l["gauss_newton_norm"] for l in layers],
            bounds=[l["bound"] for l in layers],
            bounds_at_layer=[l["bound_at_layer"] for l in layers],
            whole=curvature["whole"]["largest"],
            whole_residual=curvature["whole"]["largest_residual"],
            converged=all(l["hessian"]["converged"] for l in layers) and curvature["whole"]["converged"],
            errors={},
        )
        for rate in options.rates:
            trained, why = run(program, "train", "--weights", weights, "--epochs", options.epochs, "--lr", rate,
                               "--seed", row["seed"], *on_data)
            # A run that ended in NaN keeps the message in place of the error.
            row["errors"][str(rate)] = trained["summary"]["final_test_error"] if trained else why
    return row


def mean(values):
    return statistics.fmean(values) if values else math.nan


def table(rows):
    print("| activation | hidden layers x width | method | mean J | least..greatest layer H | whole H | bound / H, first "
          "layer | best error % (rate) | above 50 % at rate |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    key = lambda r: (r["activation"], r["width"], r["depth"], METHODS.index(r["method"]))
    for (activation, width, depth, _), group in itertools.groupby(sorted(rows, key=key), key):
        group = list(group)
        good = [r for r in group if "failed" not in r]
        name = f"| {activation} | {depth} x {width} | {group[0]['method']} "
        if not good:
            print(name + f"| {group[0]['failed']} | | | | | |")
            continue
        rates = list(good[0]["errors"])
        errors = {q: [r["errors"][q] for r in good] for q in rates}
        sound = {q: mean(e) for q, e in errors.items() if all(isinstance(v, float) for v in e)}
        learning = {q: e for q, e in sound.items() if e < 0.5}
        best = min(sound, key=sound.get) if sound else None
        fails = [q for q in rates if q not in learning]
        ratio = mean([r["bounds"][0] / r["hessian_norms"][0] for r in good if r["hessian_norms"][0] > 0])
        print(name + f"| {mean([mean(r['jacobian_norms']) for r in good]):.3g} "
              f"| {mean([min(r['hessian_norms']) for r in good]):.2g} .. "
              f"{mean([max(r['hessian_norms']) for r in good]):.2g} "
              f"| {mean([r['whole'] for r in good]):.3g} | {ratio:.2g} "
              f"| {100 * sound[best]:.1f} ({best}) | {', '.join(fails) or 'none'} |" if best else name + "| no run |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="build/release/bin/kindling")
    parser.add_argument("--data", help="MNIST, a folder of IDX files")
    parser.add_argument("--results", required=True, help="a JSON line a network; appended to")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--samples", type=int, default=200, help="of the curvature")
    parser.add_argument("--tolerance", type=float, default=0.02, help="of Lanczos, relative")
    parser.add_argument("--train", type=int, default=5000, help="training samples")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--rates", type=float, nargs="+", default=[0.01, 0.1, 1.0])
    parser.add_argument("--depths", type=int, nargs="+", default=[2, 8, 20])
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--table", action="store_true", help="print the results as a table and end")
    options = parser.parse_args()
    rows = []
    if os.path.exists(options.results):
        with open(options.results, encoding="utf-8") as file:
            rows = [json.loads(line) for line in file if line.strip()]
    if options.table:
        table(rows)
        return
    if not options.data:
        parser.error("expected --data, a folder of IDX files")
    same = lambda r: tuple(r[k] for k in ("method", "activation", "depth", "width", "seed"))
    done = {same(r) for r in rows}
    for seed, width, depth, activation, method in itertools.product(
            range(options.seeds), options.widths, options.depths, ["relu", "tanh"], METHODS):
        row = dict(method=method, activation=activation, depth=depth, width=width, seed=seed)
        if same(row) in done:
            continue
        row = measure(options.program, options.data, row, options)
        with open(options.results, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(row["model"], row["method"], row["seed"], row.get("failed", ""), flush=True)


if __name__ == "__main__":
    main()
