"""Distil the whole of Fashion-MNIST within a time budget; prints the validation curve and the peak memory.

The test rows are touched only with ``--final``: accuracy on all 10,000 by kernel ridge with many
random features, and with ``--evaluate exact`` by the exact NNGP and NTK, the protocol of the paper.

    python benchmarks/fashion_mnist.py --ipc 1 --minutes 10 --final --evaluate exact
"""

import argparse
import time

BEGIN = time.monotonic()

from _common import FASHION_NAMES, load_fashion_mnist, machine, peak_memory_gb  # noqa: E402

from rfad_sklearn import Coreset, NNGPKernelRidge, RFADDistiller  # noqa: E402

LABELS = {"fixed": False, "learned": True, "solved": "solve"}


def evaluate(coreset, data, n_networks, width, seeds):
    """Test accuracy with fresh wide networks, one value per seed."""
    scores = []
    for seed in range(seeds):
        clf = NNGPKernelRidge(
            kernel_method="random_features",
            n_networks=n_networks,
            width=width,
            random_state=1000 + seed,
        ).fit_coreset(coreset)
        scores.append(clf.score(data["X_test"], data["y_test"]))
        print(
            f"test accuracy, {n_networks} networks of {width} channels, seed {1000 + seed}: {scores[-1]:.4f}",
            flush=True,
        )
    return scores


def evaluate_exactly(coreset, data, estimates):
    """Test accuracy with the exact kernels, and how far the random features were from the NNGP's."""
    # The accuracy does not depend on the scale: a few training rows satisfy the refit that another
    # kernel asks for.
    few = data["X_train"][:512], data["y_train"][:512]
    for kernel in ("nngp", "ntk"):
        begin = time.monotonic()
        clf = NNGPKernelRidge(kernel=kernel, kernel_method="exact").fit_coreset(coreset, *few)
        score = clf.score(data["X_test"], data["y_test"])
        print(
            f"test accuracy, exact {kernel.upper()}: {score:.4f} ({time.monotonic() - begin:.0f} s)",
            flush=True,
        )
        if kernel == "nngp":
            differences = ", ".join(f"{estimate - score:+.4f}" for estimate in estimates)
            print(f"random features minus exact NNGP: {differences}", flush=True)


def parse():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
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
    return parser.parse_args()


def main():
    """Run the benchmark."""
    args = parse()
    print(machine(), flush=True)
    data = load_fashion_mnist(args.data)
    if args.coreset:
        coreset = Coreset.load(args.coreset)
    else:
        learn_labels, budget = LABELS[args.labels], 60 * args.minutes
        distiller = RFADDistiller(
            ipc=args.ipc,
            max_time=budget,
            random_state=args.seed,
            learn_labels=learn_labels,
            verbose=1,
        )
        coreset = distiller.fit(data["X_train"], data["y_train"]).coreset_
        path = coreset.save(args.out.format(ipc=args.ipc))
        print(
            f"{coreset}\nwrote {path}; stopped by {distiller.stop_reason_} after {distiller.n_iter_} steps"
        )
        print(
            f"import to saved coreset: {time.monotonic() - BEGIN:.1f} s; peak memory {peak_memory_gb():.2f} GB",
            flush=True,
        )
    if args.picture:
        import matplotlib

        matplotlib.use("agg")
        from rfad_sklearn import CoresetDisplay

        CoresetDisplay.from_coreset(coreset, class_names=FASHION_NAMES).figure_.savefig(
            args.picture, dpi=110
        )
    if args.final:
        estimates = evaluate(coreset, data, args.final_networks, args.final_width, args.final_seeds)
        if args.evaluate == "exact":
            evaluate_exactly(coreset, data, estimates)
        print(f"peak memory with the evaluation {peak_memory_gb():.2f} GB")


if __name__ == "__main__":
    main()
