"""Milliseconds per pair of images for the exact kernels of the depth-3 ConvNet, float32, beside what the machine allows.

Forward, and forward with backward to the second argument, as a distiller needs it; compiled and
not. Then the peak memory of 10,000 x 500 pairs under a budget (stopped after two panels: memory no
longer grows) and the time that they would take.

    python benchmarks/exact_kernel.py
"""

import argparse
import contextlib
import itertools
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import torch
from _common import machine

from rfad_sklearn import ConvNet
from rfad_sklearn._kernels.exact import exact_kernel
from rfad_sklearn._kernels.pixel_pairs import cross_pairs, n_arc_cosines
from rfad_sklearn.kernels import nngp_kernel

# Multiplications and additions of one arc-cosine, roots and comparisons counted as one: what
# relu_pool does per entry.
_FLOPS_PER_ARC_COSINE = {"nngp": 26, "ntk": 32}


def seconds(function, repeats):
    """Median of several runs after one to warm up, and their spread (half of the range)."""
    function()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return float(np.median(times)), (max(times) - min(times)) / 2


def machine_peaks():
    """Measured float32 matrix product (FLOP/s) and copy bandwidth (bytes/s, read and write counted)."""
    a = torch.randn(2048, 2048)
    product, _ = seconds(lambda: a @ a, 5)
    source, target = torch.randn(2**26), torch.empty(2**26)
    copy, _ = seconds(lambda: target.copy_(source), 5)
    return 2 * 2048**3 / product, 2 * 4 * 2**26 / copy


def floors(spec, shape, kernel, peaks):
    """Seconds per pair: all arithmetic at the peak of matrix products, and the first covariances written and read once."""
    stages = cross_pairs(spec, shape).stages
    first = len(stages[0].first) * stages[0].places ** 2
    flops = 2 * first * (9 * shape[2] + 1) + _FLOPS_PER_ARC_COSINE[kernel] * n_arc_cosines(
        spec, shape
    )
    # The sums along diagonals, as matrix products: rows, then columns.
    for before, stage in itertools.pairwise(stages):
        (rows, columns), out = before.shape, [side * stage.window**2 for side in stage.shape]
        flops += 2 * (1 + (kernel == "ntk")) * (out[0] * rows * columns + out[0] * out[1] * columns)
    return flops / peaks[0], 2 * 4 * first / peaks[1]


def time_shape(shape, n, m, repeats, peaks):
    """Print the rows of one image shape."""
    spec, generator = ConvNet(depth=3), torch.Generator().manual_seed(0)
    x, y = (torch.randn((size, *shape), generator=generator) for size in (n, m))
    items = y.clone().requires_grad_()
    share = n_arc_cosines(spec, shape) / (shape[0] * shape[1]) ** 2
    print(
        f"\n{shape}: {n} x {m} pairs; {n_arc_cosines(spec, shape)} arc-cosines per pair ({share:.0%} of all pairs of pixels)"
    )
    for kernel in ("nngp", "ntk"):
        arithmetic, memory = floors(spec, shape, kernel, peaks)
        for compiled in (False, True):

            def forward(kernel=kernel, compiled=compiled):
                with torch.no_grad():
                    exact_kernel(spec, x, y, kernel=kernel, compiled=compiled)

            def both(kernel=kernel, compiled=compiled):
                exact_kernel(spec, x, items, kernel=kernel, compiled=compiled).sum().backward()

            runs = repeats if compiled else 1
            (one, spread), (two, spread_two) = (seconds(run, runs) for run in (forward, both))
            per_pair = 1e3 / (n * m)
            print(
                f"{kernel} {'compiled' if compiled else 'plain   '}: forward {one * per_pair:.3f} +- {spread * per_pair:.3f} ms/pair, with "
                f"backward {two * per_pair:.3f} +- {spread_two * per_pair:.3f}; floors: arithmetic {1e3 * arithmetic:.3f} "
                f"({arithmetic / (one / n / m):.0%} reached), covariances through memory once {1e3 * memory:.3f}",
                flush=True,
            )


class _EnoughError(Exception):
    pass


def resident_gb():
    """Resident memory of this process now (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e9


def measure_memory(budget):
    """In a process of its own: memory above the inputs, for two panels of 10,000 x 500 pairs."""
    X, Y = (
        np.random.default_rng(0).normal(size=(n, 28, 28)).astype(np.float32) for n in (10_000, 500)
    )
    # The compiler's own memory is not the kernel's.
    exact_kernel(
        ConvNet(), torch.tensor(X[:64, ..., None]), torch.tensor(Y[:32, ..., None]), compiled=True
    )
    before, resident = resident_gb(), []
    stop = threading.Event()

    def watch():
        while not stop.wait(0.02):
            resident.append(resident_gb())

    threading.Thread(target=watch, daemon=True).start()
    begin, marks = time.perf_counter(), []

    def progress(done, total):
        marks.append((time.perf_counter() - begin, done))
        if len(marks) == 2:
            raise _EnoughError

    with contextlib.suppress(_EnoughError):
        nngp_kernel(X, Y, working_memory=budget, progress=progress)
    stop.set()
    used = max(resident) - before
    (start, few), (end, many) = marks
    rate = (end - start) / (many - few)
    print(
        f"10,000 x 500 pairs of 28x28, budget {budget} MiB = {budget * 2**20 / 1e9:.2f} GB: {used:.2f} GB above the inputs; "
        f"{1e3 * rate:.3f} ms/pair, so {rate * 5e6 / 60:.0f} minutes in all"
    )


def main():
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--items", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--memory-only",
        type=int,
        metavar="MiB",
        help="measure the peak memory under this budget, nothing else",
    )
    args = parser.parse_args()
    if args.memory_only:
        measure_memory(args.memory_only)
        return
    peaks = machine_peaks()
    print(machine())
    print(
        f"measured: float32 matrix product {peaks[0] / 1e9:.0f} GFLOP/s, copy {peaks[1] / 1e9:.1f} GB/s"
    )
    for shape in ((28, 28, 1), (32, 32, 3)):
        time_shape(shape, args.rows, args.items, args.repeats, peaks)
    for budget in (128, 1024):
        subprocess.run([sys.executable, __file__, "--memory-only", str(budget)], check=True)


if __name__ == "__main__":
    main()
