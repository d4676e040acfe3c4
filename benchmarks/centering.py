"""What centring and label scaling are worth when a finite network is trained on a coreset.

Each alone, and both together::

    python benchmarks/centering.py coreset.npz --data fashion_mnist --networks 3
"""

import numpy as np
from _common import NAMES, command_line, load, machine, parse, smoke_coreset

from rfad_sklearn import Coreset, FiniteNetworkClassifier

SMOKE = {"data": "digits", "scales": [1.0], "networks": 1}


def main(arguments=None):
    """Run the benchmark."""
    parser = command_line(__doc__)
    parser.add_argument("coreset", nargs="?", help="file of a coreset")
    parser.add_argument("--data", choices=NAMES, default="fashion_mnist")
    parser.add_argument("--path", help="its file; by default looked for in data/")
    parser.add_argument("--scales", type=float, nargs="+", default=[0.25, 1.0, 4.0, 16.0])
    parser.add_argument("--networks", type=int, default=3)
    parser.add_argument(
        "--final", action="store_true", help="touch the test rows, not 5,000 training rows"
    )
    args = parse(parser, arguments, SMOKE)
    if not (args.coreset or args.smoke):
        parser.error("name the file of a coreset")
    _, _, X_eval, y_eval = load(args.data, args.path, final=args.final, smoke=args.smoke)
    coreset = smoke_coreset(args.data) if args.smoke else Coreset.load(args.coreset)
    settings = {"max_iter": 2} if args.smoke else {}
    print(machine())
    print(
        f"{coreset!r}; {len(X_eval)} {'test' if args.final else 'training'} rows; "
        f"mean and spread of {args.networks} networks"
    )
    print("| label_scale | centering=False | centering=True |\n| --- | --- | --- |")
    for scale in args.scales:
        cells = []
        for centering in (False, True):
            scores = [
                FiniteNetworkClassifier(
                    label_scale=scale, centering=centering, random_state=k, **settings
                )
                .fit_coreset(coreset)
                .score(X_eval, y_eval)
                for k in range(args.networks)
            ]
            cells.append(f"{100 * np.mean(scores):.1f} ± {100 * np.std(scores):.1f}")
        print(f"| {scale:g} | {cells[0]} | {cells[1]} |", flush=True)


if __name__ == "__main__":
    main()
