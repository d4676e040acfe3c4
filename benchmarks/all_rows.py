"""Fit ``NNGPKernelRidge`` on all training rows of Fashion-MNIST by random features: seconds, peak memory, accuracy.

    python benchmarks/all_rows.py --networks 4

Without ``--final`` the last 10,000 training rows are held out and judge; with it all 60,000 are
fitted and the test rows judge.
"""

import argparse
import time

from _common import load_fashion_mnist, machine, peak_memory_gb

from rfad_sklearn import NNGPKernelRidge


def main():
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data")
    parser.add_argument("--networks", type=int, default=8)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--final", action="store_true", help="touch the test rows")
    args = parser.parse_args()
    print(machine())
    data = load_fashion_mnist(args.data)
    n = 60000 if args.final else 50000
    X, y = data["X_train"], data["y_train"]
    X_eval, y_eval = (data["X_test"], data["y_test"]) if args.final else (X[n:], y[n:])
    begin = time.monotonic()
    clf = NNGPKernelRidge(
        n_networks=args.networks, width=args.width, random_state=0, verbose=1
    ).fit(X[:n], y[:n])
    print(
        f"fit on {n} rows, {args.networks} networks of {args.width} channels: {time.monotonic() - begin:.0f} s",
        flush=True,
    )
    begin = time.monotonic()
    print(
        f"accuracy on {len(y_eval)} rows {clf.score(X_eval, y_eval):.4f}, {time.monotonic() - begin:.0f} s"
    )
    print(f"peak memory {peak_memory_gb():.2f} GB")


if __name__ == "__main__":
    main()
