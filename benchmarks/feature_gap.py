"""How far random features are from the exact kernel on a coreset, by the number of networks and by their widths.

Accuracy by random features less that by the exact NNGP, and the error of the scores (root mean
square, in % of that of the exact scores), on the same rows, mean and standard deviation over draws
of the networks; and the seconds that they take, of one draw.

    python benchmarks/feature_gap.py coreset.npz --data fashion_mnist python
    benchmarks/feature_gap.py coreset.npz --data cifar10_jpeg --networks 8 --widths 64 128 32,64,256
"""

import argparse
import time
from dataclasses import replace

import numpy as np
from _common import machine
from paper_table import few_rows, load

from rfad_sklearn import Coreset, NNGPKernelRidge


def widths(text):
    """A width, or one for each layer, first to last."""
    values = tuple(int(part) for part in text.split(","))
    return values if len(values) > 1 else values[0]


def compare(coreset, exact, X, y, n_networks, width, n_draws):
    """One line of the table."""
    gaps, errors, seconds = [], [], []
    for seed in range(n_draws):
        settings = {
            "architecture": replace(coreset.architecture, width=width),
            "n_networks": n_networks,
            "random_state": seed,
        }
        begin = time.monotonic()
        clf = NNGPKernelRidge(kernel_method="random_features", **settings).fit_coreset(coreset)
        scores = clf.decision_function(X)
        seconds.append(time.monotonic() - begin)
        right = [clf.classes_[s.argmax(1)] == y for s in (scores, exact)]
        gaps.append(100 * (right[0].mean() - right[1].mean()))
        errors.append(100 * np.sqrt(((scores - exact) ** 2).mean() / (exact**2).mean()))
    told = [
        f"{np.mean(values):{form}} ± {np.std(values, ddof=1):.1f}"
        for values, form in ((gaps, "+.1f"), (errors, ".1f"))
    ]
    return f"| {n_networks} | {width} | {told[0]} | {told[1]} | {min(seconds):.1f} |"


def main():
    """Print a Markdown table for each coreset."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("coresets", nargs="+", help="files")
    parser.add_argument(
        "--data", choices=["fashion_mnist", "cifar10_jpeg", "digits"], required=True
    )
    parser.add_argument("--path", help="file of the data set; by default looked for in data/")
    parser.add_argument("--networks", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument(
        "--widths",
        type=widths,
        nargs="+",
        default=[16, 64, 256],
        help="of all layers, or 32,64,256 of each",
    )
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--final", action="store_true", help="judge by test rows")
    args = parser.parse_args()
    _, _, X, y = load(args.data, args.path, args.final)
    chosen = few_rows(len(X))
    X, y = X[chosen], y[chosen]
    print(machine())
    for path in args.coresets:
        coreset = Coreset.load(path)
        clf = NNGPKernelRidge(kernel_method="exact").fit_coreset(coreset)
        exact = clf.decision_function(X)
        accuracy = (clf.classes_[exact.argmax(1)] == y).mean()
        print(f"\n{coreset}\n\nexact NNGP {100 * accuracy:.1f} % on {len(X)} rows\n")
        print(
            "| networks | width | accuracy less exact | error of the scores, % | seconds |\n| --- | --- | --- | --- | --- |"
        )
        for n_networks in args.networks:
            for width in args.widths:
                print(compare(coreset, exact, X, y, n_networks, width, args.draws), flush=True)


if __name__ == "__main__":
    main()
