#!/usr/bin/env python3
"""Draws information planes: I(X; L + noise) across, I(Y; L) up, a curve a layer, early steps dark and late ones light.

    kindling train ... --plane plane.jsonl
    python3 tools/plot/information_plane.py plane.jsonl --out plane.png

Several files give panels side by side. Needs matplotlib (pip install matplotlib).
"""

import argparse
import json
import sys


def read(path):
    layers = {}
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                point = json.loads(line)
                x, y = point["input_nats"], point["target_nats"]
                layer, step = point["layer"], point["step"]
            except (ValueError, KeyError, TypeError) as error:
                sys.exit(f"{path}: line {number} is no point of an information plane ({error!r})")
            if x is None or y is None:  # a term without a critic has no place in the plane
                continue
            layers.setdefault(layer, []).append((step, x, y))
    if not layers:
        sys.exit(f"{path}: no point has both kinds of information")
    return layers


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", help="what --plane wrote")
    parser.add_argument("--titles", nargs="+", help="one for each file")
    parser.add_argument("--out", required=True, help=".png, .pdf or .svg")
    arguments = parser.parse_args()
    if arguments.titles and len(arguments.titles) != len(arguments.files):
        parser.error("as many titles as files expected")
    planes = [read(path) for path in arguments.files]
    try:
        import matplotlib
    except ImportError:
        sys.exit("matplotlib is missing: pip install matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(planes), figsize=(5.5 * len(planes), 4.5), squeeze=False)
    for panel, plane, path, title in zip(panels[0], planes, arguments.files, arguments.titles or arguments.files):
        for number, (layer, points) in enumerate(plane.items()):
            points.sort()
            _, x, y = zip(*points)
            panel.plot(x, y, "-", linewidth=0.8, color=f"C{number}")
            shades = [0.25 + 0.75 * i / max(len(x) - 1, 1) for i in range(len(x))]
            for px, py, shade in zip(x, y, shades):
                panel.plot(px, py, "o", markersize=5, color=f"C{number}", alpha=1.25 - shade)
            panel.plot([], [], "o-", color=f"C{number}", label=layer)
            panel.annotate("start", (x[0], y[0]), fontsize=7)
        panel.set_xlabel("I(X; L + noise), nats")
        panel.set_ylabel("I(Y; L), nats")
        panel.set_title(title)
        panel.legend()
    figure.tight_layout()
    figure.savefig(arguments.out, dpi=150)


if __name__ == "__main__":
    main()
