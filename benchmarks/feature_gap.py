"""How far random features are from the exact kernel on a coreset, by the number of networks and by their width.

Accuracy by random features less that by the exact NNGP, on the same rows, mean and standard deviation over draws of the networks.

    python benchmarks/feature_gap.py coresets/fashion_mnist_distilled_fixed_1_0.npz --data fashion_mnist
"""

import argparse

import numpy as np
from _common import machine
from paper_table import FEW_ROWS, exact_accuracy, load

from rfad_sklearn import Coreset, NNGPKernelRidge


def main():
    """Print a Markdown table for each coreset."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("coresets", nargs="+", help="files")
    parser.add_argument("--data", choices=["fashion_mnist", "cifar10_jpeg", "digits"], required=True)
    parser.add_argument("--path", help="file of the data set; by default looked for in data/")
    parser.add_argument("--networks", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--widths", type=int, nargs="+", default=[16, 64, 256])
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--final", action="store_true", help="judge by test rows")
    args = parser.parse_args()
    X, y, X_judge, y_judge = load(args.data, args.path, args.final)
    print(machine())
    for path in args.coresets:
        coreset = Coreset.load(path)
        exact, chosen = exact_accuracy(coreset, "nngp", X, y, X_judge, y_judge, 0)
        print(f"\n{coreset}\n\nexact NNGP {100 * exact:.1f} % on {FEW_ROWS} rows\n")
        print(
            "| networks | "
            + " | ".join(f"width {width}" for width in args.widths)
            + " |\n"
            + "| --- " * (len(args.widths) + 1)
            + "|"
        )
        for n_networks in args.networks:
            cells = []
            for width in args.widths:
                features = [
                    NNGPKernelRidge(method="random_features", n_networks=n_networks, width=width, random_state=seed).fit_coreset(
                        coreset
                    )
                    for seed in range(args.draws)
                ]
                gaps = [100 * (clf.score(X_judge[chosen], y_judge[chosen]) - exact) for clf in features]
                cells.append(f"{np.mean(gaps):+.1f} ± {np.std(gaps, ddof=1):.1f}")
            print(f"| {n_networks} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
