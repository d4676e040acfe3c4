"""How far random features are from the exact kernel on a coreset, by networks and widths.

Accuracy by random features less that by the exact NNGP, and the error of the scores (root mean
square, in % of that of the exact scores), on the same rows, mean and standard deviation over draws
of the networks; and the seconds that they take, of one draw::

    python benchmarks/feature_gap.py coreset.npz --data fashion_mnist
    python benchmarks/feature_gap.py coreset.npz --data cifar10_jpeg --networks 8 \\
        --widths 64 128 32,64,256
"""

import time

import numpy as np
from _common import NAMES, command_line, load, machine, parse, smoke_coreset
from _evaluation import few_rows

from rfad_sklearn import ConvNet, Coreset, NNGPKernelRidge

SMOKE = {"data": "digits", "networks": [1], "widths": [8], "draws": 2}


def widths(text):
    """A width, or one for each layer, first to last."""
    values = tuple(int(part) for part in text.split(","))
    return values if len(values) > 1 else values[0]


def compare(coreset, exact, X, y, n_networks, width, n_draws):
    """One line of the table."""
    gaps, errors, seconds = [], [], []
    for seed in range(n_draws):
        begin = time.monotonic()
        clf = NNGPKernelRidge(
            kernel_method="random_features",
            architecture=ConvNet(width=width),
            n_networks=n_networks,
            random_state=seed,
        ).fit_coreset(coreset)
        scores = clf.decision_function(X)
        seconds.append(time.monotonic() - begin)
        right = [clf.classes_[s.argmax(1)] == y for s in (scores, exact)]
        gaps.append(100 * (right[0].mean() - right[1].mean()))
        errors.append(100 * np.sqrt(((scores - exact) ** 2).mean() / (exact**2).mean()))
    gap, error = (
        f"{np.mean(values):{form}} ± {np.std(values, ddof=1):.1f}"
        for values, form in ((gaps, "+.1f"), (errors, ".1f"))
    )
    return f"| {n_networks} | {width} | {gap} | {error} | {min(seconds):.1f} |"


def main(arguments=None):
    """Print a Markdown table for each coreset."""
    parser = command_line(__doc__)
    parser.add_argument("coresets", nargs="*", help="files")
    parser.add_argument("--data", choices=NAMES)
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
    parser.add_argument("--final", action="store_true", help="touch the test rows")
    args = parse(parser, arguments, SMOKE)
    if not (args.smoke or (args.coresets and args.data)):
        parser.error("name files of coresets, and their --data")
    _, _, X, y = load(args.data, args.path, final=args.final, smoke=args.smoke)
    chosen = few_rows(len(X))
    X, y = X[chosen], y[chosen]
    coresets = [Coreset.load(path) for path in args.coresets]
    print(machine())
    for coreset in [smoke_coreset(args.data)] if args.smoke else coresets:
        clf = NNGPKernelRidge(kernel_method="exact").fit_coreset(coreset)
        exact = clf.decision_function(X)
        accuracy = (clf.classes_[exact.argmax(1)] == y).mean()
        print(f"\n{coreset}\n\nexact NNGP {100 * accuracy:.1f} % on {len(X)} rows\n")
        print("| networks | width | accuracy less exact | error of the scores, % | seconds |")
        print("| --- | --- | --- | --- | --- |")
        for n_networks in args.networks:
            for width in args.widths:
                print(compare(coreset, exact, X, y, n_networks, width, args.draws), flush=True)


if __name__ == "__main__":
    main()
