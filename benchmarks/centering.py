"""What centring and label scaling are worth when a finite network is trained on a coreset, each alone and both together.

python benchmarks/centering.py coreset.npz --data fashion_mnist --networks 3
"""

import argparse

import numpy as np
from _common import machine
from paper_table import load

from rfad_sklearn import Coreset, FiniteNetworkClassifier


def main():
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("coreset", help="file of a coreset")
    parser.add_argument(
        "--data", choices=["fashion_mnist", "cifar10_jpeg", "digits"], default="fashion_mnist"
    )
    parser.add_argument("--path", help="its file; by default looked for in data/")
    parser.add_argument("--scales", type=float, nargs="+", default=[0.25, 1.0, 4.0, 16.0])
    parser.add_argument("--networks", type=int, default=3)
    parser.add_argument(
        "--final", action="store_true", help="judge by the test rows, not by 5,000 training rows"
    )
    args = parser.parse_args()
    _, _, X_judge, y_judge = load(args.data, args.path, args.final)
    coreset = Coreset.load(args.coreset)
    print(machine())
    print(
        f"{coreset!r}; {len(X_judge)} {'test' if args.final else 'training'} rows; mean and spread of {args.networks} networks"
    )
    print("| label_scale | centering=False | centering=True |\n| --- | --- | --- |")
    for scale in args.scales:
        cells = []
        for centering in (False, True):
            scores = [
                FiniteNetworkClassifier(label_scale=scale, centering=centering, random_state=k)
                .fit_coreset(coreset)
                .score(X_judge, y_judge)
                for k in range(args.networks)
            ]
            cells.append(f"{100 * np.mean(scores):.1f} ± {100 * np.std(scores):.1f}")
        print(f"| {scale:g} | {cells[0]} | {cells[1]} |", flush=True)


if __name__ == "__main__":
    main()
