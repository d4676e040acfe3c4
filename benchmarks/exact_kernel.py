"""Milliseconds per pair of images for the exact kernels of the depth-3 ConvNet, float32.

Beside what the machine allows: forward, and forward with backward to the second argument, as a
distiller needs it; compiled and not. Then the peak memory of 10,000 x 500 pairs under a budget
(stopped after two panels: memory no longer grows) and the time that they would take::

    python benchmarks/exact_kernel.py
"""

import contextlib
import itertools
import json
import resource
import threading
import time
from pathlib import Path

import numpy as np
import torch
from _common import command_line, in_a_process, machine, parse

from rfad_sklearn._kernels.exact import exact_kernel
from rfad_sklearn._kernels.pixel_pairs import cross_pairs, n_arc_cosines
from rfad_sklearn._utils.network_spec import ConvNetSpec
from rfad_sklearn.kernels import nngp_kernel

SPEC = ConvNetSpec(depth=3)
SHAPES = ((28, 28, 1), (32, 32, 3))
# Multiplications and additions of one arc-cosine, roots and comparisons counted as one: what
# relu_pool does per entry.
_FLOPS_PER_ARC_COSINE = {"nngp": 26, "ntk": 32}
# MiB for intermediate results, in which memory is measured.
_BUDGETS = (128, 1024)
# Images on either side there.
_MEMORY_PAIRS = (10_000, 500)
_SMOKE_PAIRS = (60, 20)
# Panels after which memory no longer grows.
_PANELS = 2
# Seconds between two looks at the memory.
_POLL = 0.02
SMOKE = {"rows": 4, "items": 2, "repeats": 1, "peak_size": 256}


def seconds(function, repeats):
    """Median of several runs after one to warm up, and their spread (half of the range)."""
    function()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return float(np.median(times)), (max(times) - min(times)) / 2


def machine_peaks(size):
    """Float32 matrix product (FLOP/s) and copy bandwidth (bytes/s, read and write), measured."""
    a = torch.randn(size, size)
    product, _ = seconds(lambda: a @ a, 5)
    n_copied = 16 * size**2
    source, target = torch.randn(n_copied), torch.empty(n_copied)
    copy, _ = seconds(lambda: target.copy_(source), 5)
    return 2 * size**3 / product, 2 * 4 * n_copied / copy


def floors(shape, kernel, peaks):
    """Seconds per pair that the machine allows.

    All arithmetic at the peak of matrix products, and the first covariances written and read once.
    """
    stages = cross_pairs(SPEC, shape).stages
    first = len(stages[0].first) * stages[0].places ** 2
    flops = 2 * first * (9 * shape[2] + 1)
    flops += _FLOPS_PER_ARC_COSINE[kernel] * n_arc_cosines(SPEC, shape)
    # The sums along diagonals, as matrix products: rows, then columns.
    for before, stage in itertools.pairwise(stages):
        (rows, columns), out = before.shape, [side * stage.window**2 for side in stage.shape]
        flops += 2 * (1 + (kernel == "ntk")) * (out[0] * rows * columns + out[0] * out[1] * columns)
    return flops / peaks[0], 2 * 4 * first / peaks[1]


def time_kernel(kernel, compiled, x, items, repeats):
    """Milliseconds per pair and their spread: forward, and forward with backward."""

    def forward():
        with torch.no_grad():
            exact_kernel(SPEC, x, items, kernel=kernel, compiled=compiled)

    def both():
        exact_kernel(SPEC, x, items, kernel=kernel, compiled=compiled).sum().backward()

    for run in (forward, both):
        middle, spread = seconds(run, repeats if compiled else 1)
        yield 1e3 * middle / (len(x) * len(items)), 1e3 * spread / (len(x) * len(items))


def time_shape(shape, args, peaks):
    """Print the rows of one image shape."""
    generator = torch.Generator().manual_seed(0)
    x, items = (
        torch.randn((size, *shape), generator=generator) for size in (args.rows, args.items)
    )
    items = items.requires_grad_()
    n = n_arc_cosines(SPEC, shape)
    share = n / (shape[0] * shape[1]) ** 2
    print(
        f"\n{shape}: {args.rows} x {args.items} pairs; {n} arc-cosines per pair "
        f"({share:.0%} of all pairs of pixels)"
    )
    for kernel in ("nngp", "ntk"):
        arithmetic, memory = (1e3 * floor for floor in floors(shape, kernel, peaks))
        for compiled in (False,) if args.smoke else (False, True):
            (one, spread), (two, spread_two) = time_kernel(kernel, compiled, x, items, args.repeats)
            print(
                f"{kernel} {'compiled' if compiled else 'plain   '}: "
                f"forward {one:.3f} +- {spread:.3f} ms/pair, "
                f"with backward {two:.3f} +- {spread_two:.3f}; "
                f"floors: arithmetic {arithmetic:.3f} ({arithmetic / one:.0%} reached), "
                f"covariances through memory once {memory:.3f}",
                flush=True,
            )


class _EnoughError(Exception):
    """Ends a kernel after some panels."""


def current_memory_gb():
    """Memory of this process (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e9


@contextlib.contextmanager
def watched_memory():
    """A list that gets the memory of this process again and again while the block runs."""
    values, stop = [current_memory_gb()], threading.Event()

    def watch():
        while not stop.wait(_POLL):
            values.append(current_memory_gb())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield values
    finally:
        stop.set()
        thread.join()


def measure_memory(task):
    """Memory above the inputs, for some panels, in GB; and milliseconds per pair of the second."""
    n_rows, n_items = task["pairs"]
    side = 8 if task["smoke"] else 28
    rng = np.random.default_rng(0)
    X, Y = (rng.normal(size=(n, side, side)).astype(np.float32) for n in (n_rows, n_items))
    if not task["smoke"]:
        # The compiler's own memory is not the kernel's.
        few = (torch.tensor(rows[..., None]) for rows in (X[:64], Y[:32]))
        exact_kernel(SPEC, *few, compiled=True)
    begin, marks = time.perf_counter(), []

    def progress(done, total):
        marks.append((time.perf_counter() - begin, done))
        if len(marks) == _PANELS:
            raise _EnoughError

    with watched_memory() as values, contextlib.suppress(_EnoughError):
        nngp_kernel(X, Y, working_memory=task["budget"], progress=progress)
    (start, few), (end, many) = marks[0], marks[-1]
    rate = 1e3 * (end - start) / max(many - few, 1)
    return {"memory": max(values) - values[0], "rate": rate}


def report_memory(budget, args):
    """Print the memory and the time of many pairs under a budget."""
    pairs = _SMOKE_PAIRS if args.smoke else _MEMORY_PAIRS
    task = {"budget": budget, "pairs": pairs, "smoke": args.smoke}
    result = measure_memory(task) if args.smoke else in_a_process(__file__, task)
    minutes = result["rate"] * pairs[0] * pairs[1] / 60e3
    print(
        f"{pairs[0]:,} x {pairs[1]} pairs, budget {budget} MiB = {budget * 2**20 / 1e9:.2f} GB: "
        f"{result['memory']:.2f} GB above the inputs; {result['rate']:.3f} ms/pair, "
        f"so {minutes:.0f} minutes in all"
    )


def main(arguments=None):
    """Run the benchmark."""
    parser = command_line(__doc__)
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--items", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peak-size", type=int, default=2048, help="side of the matrix product")
    parser.add_argument("--task", help="one measurement of memory, as JSON, in this process")
    args = parse(parser, arguments, SMOKE)
    if args.task:
        print(json.dumps(measure_memory(json.loads(args.task))))
        return
    peaks = machine_peaks(args.peak_size)
    print(machine())
    print(
        f"measured: float32 matrix product {peaks[0] / 1e9:.0f} GFLOP/s, "
        f"copy {peaks[1] / 1e9:.1f} GB/s"
    )
    for shape in ((8, 8, 1),) if args.smoke else SHAPES:
        time_shape(shape, args, peaks)
    for budget in (1,) if args.smoke else _BUDGETS:
        report_memory(budget, args)


if __name__ == "__main__":
    main()
