"""The README's picture: one item per class of Fashion-MNIST, real and distilled, with accuracies.

Accuracy is that which ten items of each kind give by the exact NNGP, on all test rows (``--final``)
or on 5,000 training rows::

    python benchmarks/baselines.py --data fashion_mnist --ipc 1 --minutes 5 \\
        --methods rfad "rfad, learned labels" --coresets coresets --final
    python benchmarks/picture.py docs/fashion_mnist.png --distilled fixed.npz \\
        --learned learned.npz --final
"""

import os

import numpy as np
from _common import FASHION_NAMES, command_line, load, machine, parse, smoke_coreset
from _evaluation import exact_accuracy

from rfad_sklearn import Coreset, CoresetSelector

SMOKE = {"picture": os.devnull}


def draw(rows, path):
    """One line of images for each (name, coreset, accuracy)."""
    import matplotlib

    matplotlib.use("agg")
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
        weight = "bold" if "distilled" in name else "normal"
        row[0].set_ylabel(
            name, rotation=0, ha="right", va="center", fontsize=10, fontweight=weight, labelpad=8
        )
        row[-1].annotate(
            f"{100 * accuracy:.1f} %",
            (1.15, 0.5),
            xycoords="axes fraction",
            va="center",
            fontsize=13,
            fontweight=weight,
        )
    figure.subplots_adjust(left=0.14, right=0.92, top=0.92, bottom=0.02, wspace=0.06, hspace=0.06)
    figure.savefig(path, dpi=110, format="png")
    pyplot.close(figure)


def main(arguments=None):
    """Draw it."""
    parser = command_line(__doc__)
    parser.add_argument("picture", nargs="?", help="PNG file to write")
    parser.add_argument("--distilled", help="file of a coreset with one item per class")
    parser.add_argument("--learned", help="the same with learned labels")
    parser.add_argument("--path", help="file of the data set; by default looked for in data/")
    parser.add_argument("--seed", type=int, default=0, help="draw of the real images")
    parser.add_argument("--final", action="store_true", help="touch the test rows")
    args = parse(parser, arguments, SMOKE)
    if not (args.smoke or (args.picture and args.distilled and args.learned)):
        parser.error("name the picture, and files of coresets by --distilled and --learned")
    X, y, X_eval, y_eval = load("fashion_mnist", args.path, final=args.final, smoke=args.smoke)
    coresets = {
        name: CoresetSelector(ipc=1, strategy=strategy, random_state=args.seed).fit(X, y).coreset_
        for name, strategy in (("a random image", "random"), ("nearest to the mean", "kmeans"))
    }
    for name, path in (("distilled", args.distilled), ("distilled,\nlearned labels", args.learned)):
        coresets[name] = smoke_coreset("fashion_mnist") if args.smoke else Coreset.load(path)
    rows = []
    print(machine())
    for name, coreset in coresets.items():
        n_pairs = coreset.n_items * len(X_eval)
        accuracy, _ = exact_accuracy(coreset, "nngp", X, y, X_eval, y_eval, n_pairs)
        print(f"{name!r}: {accuracy:.4f} on {len(X_eval)} rows", flush=True)
        rows.append((name, coreset, accuracy))
    draw(rows, args.picture)
    print(f"wrote {args.picture}")


if __name__ == "__main__":
    main()
