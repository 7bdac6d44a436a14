#!/usr/bin/env python3
"""Draws how a network's last hidden layer separates the classes: t-SNE of its activations, a colour a class.

    kindling inspect weights.safetensors --data <folder> --samples 2000 --features features.npz
    python3 tools/plot/tsne.py features.npz --out tsne.png

Several files give panels side by side. Needs numpy, scikit-learn and matplotlib (pip install scikit-learn matplotlib).
"""

import argparse
import sys


def read(path, numpy):
    try:
        with numpy.load(path) as arrays:
            x, y = arrays["x"], arrays["y"].astype(int)
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"{path}: expected an .npz with x (samples x features) and y (samples), as kindling inspect --features "
                 f"writes it ({error!r})")
    if x.ndim != 2 or y.shape != x.shape[:1]:
        sys.exit(f"{path}: expected x (samples x features) and y (samples), found shapes {x.shape} and {y.shape}")
    return x, y


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", help="what kindling inspect --features wrote")
    parser.add_argument("--titles", nargs="+", help="one for each file")
    parser.add_argument("--perplexity", type=float, default=30, help="effective number of neighbours (30)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", required=True, help=".png, .pdf or .svg")
    arguments = parser.parse_args()
    if arguments.titles and len(arguments.titles) != len(arguments.files):
        parser.error("as many titles as files expected")
    try:
        import matplotlib
        import numpy
        from sklearn.manifold import TSNE
    except ImportError as error:
        sys.exit(f"{error.name} is missing: pip install numpy scikit-learn matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    sets = [read(path, numpy) for path in arguments.files]
    for path, (x, _) in zip(arguments.files, sets):
        if len(x) <= arguments.perplexity:
            sys.exit(f"{path}: {len(x)} samples, expected more than the perplexity, {arguments.perplexity:g}")
    figure, panels = pyplot.subplots(1, len(sets), figsize=(4.5 * len(sets), 4.5), squeeze=False)
    for panel, (x, y), title in zip(panels[0], sets, arguments.titles or arguments.files):
        tsne = TSNE(perplexity=arguments.perplexity, random_state=arguments.seed, init="pca", learning_rate="auto")
        points = tsne.fit_transform(x)
        for label in numpy.unique(y):
            panel.plot(*points[y == label].T, ".", markersize=3, color=pyplot.cm.tab10(label % 10), label=str(label))
        panel.set_title(title)
        panel.set_xticks([])
        panel.set_yticks([])
    panels[0][-1].legend(markerscale=3, fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.tight_layout()
    figure.savefig(arguments.out, dpi=110)


if __name__ == "__main__":
    main()
