"""Distil the whole of Fashion-MNIST within a time budget; validation curve and peak memory.

The test rows are touched only with ``--final``: accuracy on all 10,000 by kernel ridge with many
random features, and with ``--evaluate exact`` by the exact NNGP and NTK, the protocol of the
paper::

    python benchmarks/fashion_mnist.py --ipc 1 --minutes 10 --final --evaluate exact
"""

import tempfile
import time

BEGIN = time.monotonic()

from _common import (  # noqa: E402
    FASHION_NAMES,
    SMOKE_SETTINGS,
    command_line,
    load_fashion_mnist,
    machine,
    parse,
    peak_memory_gb,
)
from _evaluation import feature_classifier  # noqa: E402

from rfad_sklearn import Coreset, CoresetDisplay, NNGPKernelRidge, RFADDistiller  # noqa: E402

LABELS = {"fixed": False, "learned": True, "solved": "solve"}
# The networks of the evaluation have these seeds and the following ones.
_FIRST_SEED = 1000
# The accuracy does not depend on the scale: a few training rows satisfy the refit that another
# kernel requires.
_SCALE_ROWS = 512
SMOKE = {"final": True, "evaluate": "exact", "final_networks": 2, "final_width": 8}


def evaluate(coreset, data, n_networks, width, seeds):
    """Test accuracy with fresh wide networks, one value per seed."""
    scores = []
    for seed in range(_FIRST_SEED, _FIRST_SEED + seeds):
        clf = feature_classifier(coreset, n_networks=n_networks, width=width, random_state=seed)
        scores.append(clf.score(data["X_test"], data["y_test"]))
        print(
            f"test accuracy, {n_networks} networks of {width} channels, seed {seed}: "
            f"{scores[-1]:.4f}",
            flush=True,
        )
    return scores


def evaluate_exactly(coreset, data, estimates):
    """Test accuracy with the exact kernels, and how far random features were from the NNGP's."""
    few = data["X_train"][:_SCALE_ROWS], data["y_train"][:_SCALE_ROWS]
    for kernel in ("nngp", "ntk"):
        begin = time.monotonic()
        clf = NNGPKernelRidge(kernel=kernel, kernel_method="exact").fit_coreset(coreset, *few)
        score = clf.score(data["X_test"], data["y_test"])
        seconds = time.monotonic() - begin
        print(f"test accuracy, exact {kernel.upper()}: {score:.4f} ({seconds:.0f} s)", flush=True)
        if kernel == "nngp":
            differences = ", ".join(f"{estimate - score:+.4f}" for estimate in estimates)
            print(f"random features minus exact NNGP: {differences}", flush=True)


def distil(data, args):
    """Distil and save a coreset, and say how long that took."""
    budget = {"max_time": 60 * args.minutes, "random_state": args.seed}
    distiller = RFADDistiller(
        ipc=args.ipc,
        learn_labels=LABELS[args.labels],
        verbose=1,
        **(SMOKE_SETTINGS if args.smoke else budget),
    )
    coreset = distiller.fit(data["X_train"], data["y_train"]).coreset_
    with tempfile.TemporaryDirectory() as folder:
        out = f"{folder}/coreset.npz" if args.smoke else args.out.format(ipc=args.ipc)
        path = coreset.save(out)
    print(coreset)
    print(f"wrote {path}; stopped by {distiller.stop_reason_} after {distiller.n_iter_} steps")
    print(
        f"import to saved coreset: {time.monotonic() - BEGIN:.1f} s; "
        f"peak memory {peak_memory_gb():.2f} GB",
        flush=True,
    )
    return coreset


def options(arguments):
    """Command line."""
    parser = command_line(__doc__)
    parser.add_argument(
        "--data", help="fashion_mnist.npz; by default looked for in data/, then downloaded"
    )
    parser.add_argument("--ipc", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--labels", choices=LABELS, default="fixed")
    parser.add_argument(
        "--out", default="fashion_mnist_ipc{ipc}.npz", help="where the coreset goes"
    )
    parser.add_argument("--picture", help="where a picture of the coreset goes")
    parser.add_argument("--coreset", help="evaluate this file instead of distilling")
    parser.add_argument("--final", action="store_true", help="touch the test rows")
    parser.add_argument(
        "--evaluate",
        choices=["features", "exact"],
        default="features",
        help="by exact kernels too, with --final",
    )
    parser.add_argument("--final-networks", type=int, default=8)
    parser.add_argument("--final-width", type=int, default=256)
    parser.add_argument("--final-seeds", type=int, default=1)
    return parse(parser, arguments, SMOKE)


def main(arguments=None):
    """Run the benchmark."""
    args = options(arguments)
    print(machine(), flush=True)
    data = load_fashion_mnist(args.data, smoke=args.smoke)
    coreset = Coreset.load(args.coreset) if args.coreset else distil(data, args)
    if args.picture:
        import matplotlib

        matplotlib.use("agg")
        display = CoresetDisplay.from_coreset(coreset, class_names=FASHION_NAMES)
        display.figure_.savefig(args.picture, dpi=110)
    if args.final:
        estimates = evaluate(coreset, data, args.final_networks, args.final_width, args.final_seeds)
        if args.evaluate == "exact":
            evaluate_exactly(coreset, data, estimates)
        print(f"peak memory with the evaluation {peak_memory_gb():.2f} GB")


if __name__ == "__main__":
    main()
