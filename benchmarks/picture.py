"""The README's picture: one item per class of Fashion-MNIST, real and distilled, with the accuracy that ten of each kind give.

Accuracy is that of the exact NNGP of all test rows (``--final``), or of 5,000 training rows.

    python benchmarks/rivals.py --data fashion_mnist --ipc 1 --minutes 5 --methods rfad "rfad,
    learned labels" --coresets coresets --final python benchmarks/picture.py docs/fashion_mnist.png
    --distilled fixed.npz --learned learned.npz --final
"""

import argparse

import matplotlib
import numpy as np
from _common import FASHION_NAMES, machine
from paper_table import exact_accuracy, load

from rfad_sklearn import Coreset, CoresetSelector


def draw(rows, path):
    """One line of images for each (name, coreset, accuracy)."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(rows), 10, figsize=(11.4, 1.1 * len(rows) + 0.2))
    for ax, label in zip(axes[0], FASHION_NAMES, strict=True):
        ax.set_title(label, fontsize=9)
    for row, (name, coreset, accuracy) in zip(axes, rows, strict=True):
        limits = np.percentile(coreset.images, [0.5, 99.5])
        for ax, image in zip(row, coreset.images, strict=True):
            ax.imshow(image, cmap="gray", vmin=limits[0], vmax=limits[1])
            ax.set_xticks([])
            ax.set_yticks([])
        emphasis = "bold" if "distilled" in name else "normal"
        row[0].set_ylabel(
            name, rotation=0, ha="right", va="center", fontsize=10, fontweight=emphasis, labelpad=8
        )
        words = f"{100 * accuracy:.1f} %"
        row[-1].annotate(
            words,
            (1.15, 0.5),
            xycoords="axes fraction",
            va="center",
            fontsize=13,
            fontweight=emphasis,
        )
    figure.subplots_adjust(left=0.14, right=0.92, top=0.92, bottom=0.02, wspace=0.06, hspace=0.06)
    figure.savefig(path, dpi=110)


def main():
    """Draw it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture")
    parser.add_argument(
        "--distilled", required=True, help="file of a coreset with one item per class"
    )
    parser.add_argument("--learned", required=True, help="the same with learned labels")
    parser.add_argument("--path", help="file of the data set; by default looked for in data/")
    parser.add_argument("--seed", type=int, default=0, help="draw of the real images")
    parser.add_argument("--final", action="store_true", help="judge by the test rows")
    args = parser.parse_args()
    matplotlib.use("agg")
    X, y, X_judge, y_judge = load("fashion_mnist", args.path, args.final)
    real = {
        name: CoresetSelector(ipc=1, strategy=strategy, random_state=args.seed).fit(X, y).coreset_
        for name, strategy in (("a random image", "random"), ("nearest to the mean", "kmeans"))
    }
    coresets = real | {
        "distilled": Coreset.load(args.distilled),
        "distilled,\nlearned labels": Coreset.load(args.learned),
    }
    rows = []
    print(machine())
    for name, coreset in coresets.items():
        accuracy, _ = exact_accuracy(
            coreset, "nngp", X, y, X_judge, y_judge, coreset.n_items * len(X_judge)
        )
        print(f"{name!r}: {accuracy:.4f} on {len(X_judge)} rows", flush=True)
        rows.append((name, coreset, accuracy))
    draw(rows, args.picture)


if __name__ == "__main__":
    main()
