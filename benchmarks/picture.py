"""The README's picture: one real and one distilled image per class of Fashion-MNIST.

python benchmarks/picture.py fashion_mnist_ipc1.npz docs/fashion_mnist.png
"""

import argparse

import matplotlib
import numpy as np
from _common import FASHION_NAMES, load_fashion_mnist

from rfad_sklearn import Coreset


def main():
    """Draw it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("coreset")
    parser.add_argument("picture")
    parser.add_argument("--data")
    parser.add_argument("--seed", type=int, default=0, help="draw of the real images")
    args = parser.parse_args()
    matplotlib.use("agg")
    from matplotlib import pyplot

    data, coreset, rng = load_fashion_mnist(args.data), Coreset.load(args.coreset), np.random.default_rng(args.seed)
    real = [data["X_train"][rng.choice(np.flatnonzero(data["y_train"] == label))] for label in coreset.classes]
    distilled = [coreset.images[np.flatnonzero(coreset.y == label)[0]] for label in coreset.classes]
    figure, axes = pyplot.subplots(2, len(real), figsize=(len(real), 2.3))
    for row, (name, images) in zip(axes, (("real", real), ("distilled", distilled)), strict=True):
        limits = np.percentile(images, [0.5, 99.5])
        for ax, image, label in zip(row, images, FASHION_NAMES, strict=True):
            ax.imshow(image, cmap="gray", vmin=limits[0], vmax=limits[1])
            ax.set_xticks([])
            ax.set_yticks([])
            if name == "real":
                ax.set_title(label, fontsize=9)
        row[0].set_ylabel(name, fontsize=10)
    figure.tight_layout(pad=0.3)
    figure.savefig(args.picture, dpi=110)


if __name__ == "__main__":
    main()
