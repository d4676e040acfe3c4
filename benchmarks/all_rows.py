"""Random-feature ``NNGPKernelRidge`` on all training rows of Fashion-MNIST: time, memory, accuracy.

Without ``--final`` the last 10,000 training rows are held out for evaluation; with it all 60,000
are fitted, and the test rows evaluate them::

    python benchmarks/all_rows.py --networks 4
"""

import time

from _common import command_line, load_fashion_mnist, machine, parse, peak_memory_gb

from rfad_sklearn import ConvNet, NNGPKernelRidge

# Share of the training rows that are fitted without --final.
_FITTED = 5 / 6
SMOKE = {"networks": 1, "width": 8}


def main(arguments=None):
    """Run the benchmark."""
    parser = command_line(__doc__)
    parser.add_argument("--data", help="fashion_mnist.npz")
    parser.add_argument("--networks", type=int, default=8)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--final", action="store_true", help="touch the test rows")
    args = parse(parser, arguments, SMOKE)
    print(machine())
    data = load_fashion_mnist(args.data, smoke=args.smoke)
    X, y = data["X_train"], data["y_train"]
    n = len(X) if args.final else round(_FITTED * len(X))
    X_eval, y_eval = (data["X_test"], data["y_test"]) if args.final else (X[n:], y[n:])
    begin = time.monotonic()
    clf = NNGPKernelRidge(
        kernel_method="random_features",
        architecture=ConvNet(width=args.width),
        n_networks=args.networks,
        random_state=0,
        verbose=1,
    ).fit(X[:n], y[:n])
    print(
        f"fit on {n} rows, {args.networks} networks of {args.width} channels: "
        f"{time.monotonic() - begin:.0f} s",
        flush=True,
    )
    begin = time.monotonic()
    print(
        f"accuracy on {len(y_eval)} rows {clf.score(X_eval, y_eval):.4f}, "
        f"{time.monotonic() - begin:.0f} s"
    )
    print(f"peak memory {peak_memory_gb():.2f} GB")


if __name__ == "__main__":
    main()
