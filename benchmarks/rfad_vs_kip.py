"""Seconds per step of RFAD and of KIP (exact NTK), same rows and coreset, 28x28 images.

RFAD in two settings: the paper's algorithm (8 fresh networks of 256 channels and fresh rows at
every step) and this library's default (networks in a pool, for many items fresh ones). KIP is
measured in whole steps where that takes seconds, |B| <= 256, and by its cost per pair; for |B| =
5120 it is extrapolated: pairs = |B| |S| + |S| (|S| + 1) / 2::

    python benchmarks/rfad_vs_kip.py
"""

import time
from dataclasses import replace

import numpy as np
import torch
from _common import command_line, machine, parse
from _steps import DEPTH, PAPER, REG, SHAPES, Engine, default_way, noise, start

from rfad_sklearn._kernels.exact import exact_kernel
from rfad_sklearn._optimization.exact_kernel_objective import ExactKernelObjective
from rfad_sklearn._optimization.ridge_objective import RidgeConfig
from rfad_sklearn._utils.device import resolve_dtype
from rfad_sklearn._utils.network_spec import ConvNetSpec

SPEC = ConvNetSpec(depth=DEPTH)
# Pairs of rows and items by which a pair is timed, with at least so many rows.
_PAIRS = 4096
_FEWEST_ROWS = 16
# Rows of the whole steps of KIP, and most items there.
_WHOLE_ROWS = (64, 256)
_WHOLE_ITEMS = 10
SMOKE = {
    "shape": "small",
    "rows": 32,
    "items": [10],
    "steps": 1,
    "pairs": 40,
    "whole_rows": [4],
    "interpreted": True,
}


def seconds_per_step(objective, n_items, steps):
    """Mean over the steps, for a pool is refreshed at some only, and half of the range.

    One step before is to warm up.
    """
    values, times = start(objective.data.shape, n_items, "cpu"), []
    for _ in range(steps + 1):
        begin = time.perf_counter()
        objective.loss(values).backward()
        objective.after_step(values)
        times.append(time.perf_counter() - begin)
    return float(np.mean(times[1:])), (max(times[1:]) - min(times[1:])) / 2


def rfad(way, n_items, args):
    """The objective of RFAD."""
    return Engine(SHAPES[args.shape], n_items, way, timed=False).objective


def kip(data, batch_size, args):
    """The objective of KIP."""
    return ExactKernelObjective(
        SPEC,
        data,
        RidgeConfig(batch_size=batch_size, reg=REG, loss="mse"),
        kernel="ntk",
        compiled=not args.interpreted,
        generator=torch.Generator().manual_seed(0),
        device=torch.device("cpu"),
    )


def seconds_per_pair(n_rows, n_items, args):
    """Forward and backward of the NTK between rows and items."""
    shape, times = SHAPES[args.shape], []
    x, items = torch.randn((n_rows, *shape)), torch.randn((n_items, *shape)).requires_grad_()
    for _ in range(args.steps + 1):
        begin = time.perf_counter()
        kernel = exact_kernel(SPEC, x, items, kernel="ntk", compiled=not args.interpreted)
        kernel.sum().backward()
        times.append(time.perf_counter() - begin)
    return float(np.median(times[1:])) / (n_rows * n_items)


def n_pairs(batch_size, n_items):
    """Pairs of images in one step of KIP."""
    return batch_size * n_items + n_items * (n_items + 1) / 2


def time_kip(args):
    """Print the cost of KIP by pairs and by whole steps; gives the seconds per pair."""
    data, per_pair = noise(SHAPES[args.shape], 3 * args.rows, "cpu"), {}
    for n in args.items:
        n_rows = max(args.pairs // n, min(_FEWEST_ROWS, args.pairs))
        per_pair[n] = seconds_per_pair(n_rows, n, args)
        print(
            f"KIP, |S| = {n}: {1e3 * per_pair[n]:.2f} ms/pair forward and backward, "
            f"on {n_rows * n} pairs",
            flush=True,
        )
    for batch_size in args.whole_rows:
        for n in [n for n in args.items if n <= _WHOLE_ITEMS]:
            whole, spread = seconds_per_step(kip(data, batch_size, args), n, args.steps)
            estimate = per_pair[n] * n_pairs(batch_size, n)
            print(
                f"KIP, whole step, |B| = {batch_size}, |S| = {n}: {whole:.2f} +- {spread:.2f} s "
                f"(by the formula {estimate:.2f} s)",
                flush=True,
            )
    return per_pair


def compare(n, args, per_pair):
    """Print one row of the table."""
    if args.smoke:
        paper = replace(PAPER, n_networks=2, width=8, n_rows=args.rows)
    else:
        paper = replace(PAPER, n_rows=args.rows)
    own = default_way(n, n_networks=2 if args.smoke else PAPER.n_networks, n_rows=args.rows)
    every = 1 if args.smoke else own.refresh_interval
    fresh, fresh_spread = seconds_per_step(rfad(paper, n, args), n, args.steps)
    default, default_spread = seconds_per_step(rfad(own, n, args), n, every * args.steps)
    slow = per_pair[n] * n_pairs(args.rows, n)
    cells = [
        f"{n}",
        f"{fresh:.1f} +- {fresh_spread:.1f} s",
        f"{default:.2f} +- {default_spread:.2f} s (refreshed every {own.refresh_interval} steps)",
        f"{slow:.0f} s",
        f"{slow / fresh:.0f} x",
        f"{slow / default:.0f} x",
    ]
    print(f"| {' | '.join(cells)} |", flush=True)


def main(arguments=None):
    """Run the benchmark."""
    parser = command_line(__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="fashion", help="of the images")
    parser.add_argument("--rows", type=int, default=PAPER.n_rows, help="|B|")
    parser.add_argument("--items", type=int, nargs="+", default=[10, 100, 500], help="|S|")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=_PAIRS, help="pairs by which one is timed")
    parser.add_argument(
        "--whole-rows", type=int, nargs="*", default=_WHOLE_ROWS, help="|B| of whole steps of KIP"
    )
    parser.add_argument(
        "--interpreted", action="store_true", help="do not compile the exact kernel"
    )
    args = parse(parser, arguments, SMOKE)
    print(machine())
    per_pair = time_kip(args)
    dtype = resolve_dtype("auto", torch.device("cpu"), reduced=True)
    print(f"\n|B| = {args.rows}; RFAD in {str(dtype).removeprefix('torch.')}; KIP extrapolated")
    head = ["items", "RFAD, fresh 8 x 256", "RFAD, default", "KIP (NTK)"]
    head += ["KIP / fresh", "KIP / default"]
    print(f"| {' | '.join(head)} |\n" + "| --- " * len(head) + "|")
    for n in args.items:
        compare(n, args, per_pair)


if __name__ == "__main__":
    main()
