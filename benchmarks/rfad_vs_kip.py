"""Seconds per step of RFAD and of KIP (exact NTK), same rows per step, same coreset, same machine; Fashion-MNIST shapes.

RFAD in two settings: the paper's algorithm (8 fresh networks of 256 channels and fresh rows at
every step) and this library's default (networks in a pool, for many items fresh ones). KIP is
measured in whole steps where that takes seconds, |B| <= 256, and by its cost per pair; for |B| =
5120 it is extrapolated: pairs = |B| |S| + |S| (|S| + 1) / 2.

    python benchmarks/rfad_vs_kip.py
"""

import argparse
import time
from dataclasses import replace

import numpy as np
import torch
from _common import machine
from _steps import Engine, noise, start

from rfad_sklearn import ConvNet
from rfad_sklearn._kernels.exact import exact_kernel
from rfad_sklearn._optimization.ridge_objective import ExactKernelObjective, RidgeConfig
from rfad_sklearn._planning.plan import PoolDefaults
from rfad_sklearn._utils.device import resolve_dtype

SHAPE = (28, 28, 1)


def seconds_per_step(objective, n_items, steps):
    """Mean over the steps, for a pool is refreshed at some steps only, and half of the range; one step before to warm up."""
    values, times = start(SHAPE, n_items, "cpu"), []
    for _ in range(steps + 1):
        begin = time.perf_counter()
        objective.loss(values).backward()
        objective.after_step(values)
        times.append(time.perf_counter() - begin)
    return float(np.mean(times[1:])), (max(times[1:]) - min(times[1:])) / 2


def rfad(batch_size, n_networks, width, every, n_items):
    """The objective of RFAD; a refresh at every step is fresh networks and rows at every step."""
    engine = Engine(
        SHAPE, n_items, n_networks=n_networks, width=width, n_rows=batch_size, refresh_every=every
    )
    engine.objective.config = replace(engine.objective.config, refresh_every=every)
    return engine.objective


def kip(data, batch_size):
    """The objective of KIP."""
    config = RidgeConfig(batch_size=batch_size, reg=5e-3, loss="mse")
    generator = torch.Generator().manual_seed(0)
    return ExactKernelObjective(
        ConvNet(),
        data,
        config,
        kernel="ntk",
        compiled=True,
        generator=generator,
        device=torch.device("cpu"),
    )


def seconds_per_pair(n_rows, n_items):
    """Forward and backward of the NTK between rows and items."""
    x, items = torch.randn((n_rows, *SHAPE)), torch.randn((n_items, *SHAPE)).requires_grad_()
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        exact_kernel(ConvNet(), x, items, kernel="ntk", compiled=True).sum().backward()
        times.append(time.perf_counter() - begin)
    return float(np.median(times[1:])) / (n_rows * n_items)


def n_pairs(batch_size, n_items):
    """Pairs of images in one step of KIP."""
    return batch_size * n_items + n_items * (n_items + 1) / 2


def main():
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=5120, help="|B|")
    parser.add_argument("--items", type=int, nargs="+", default=[10, 100, 500], help="|S|")
    parser.add_argument("--steps", type=int, default=2)
    args = parser.parse_args()
    print(machine())
    dtype = resolve_dtype("auto", torch.device("cpu"), reduced=True)
    data = noise(SHAPE, 3 * args.rows, "cpu")
    per_pair = {n: seconds_per_pair(max(4096 // n, 16), n) for n in args.items}
    for n, cost in per_pair.items():
        print(
            f"KIP, |S| = {n}: {1e3 * cost:.2f} ms/pair forward and backward, on {max(4096 // n, 16) * n} pairs",
            flush=True,
        )
    for batch_size in (64, 256):
        for n in [n for n in args.items if n <= 10]:
            whole, spread = seconds_per_step(kip(data, batch_size), n, args.steps)
            estimate = per_pair[n] * n_pairs(batch_size, n)
            print(
                f"KIP, whole step, |B| = {batch_size}, |S| = {n}: {whole:.2f} +- {spread:.2f} s (by the formula {estimate:.2f} s)",
                flush=True,
            )
    print(f"\n|B| = {args.rows}; RFAD in {str(dtype).removeprefix('torch.')}; KIP extrapolated")
    print(
        "| items | RFAD, fresh 8 x 256 | RFAD, default | KIP (NTK) | KIP / fresh | KIP / default |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    for n in args.items:
        fresh, fresh_spread = seconds_per_step(rfad(args.rows, 8, 256, 1, n), n, args.steps)
        own = PoolDefaults.choose(ConvNet(), n, args.rows)
        every = own.refresh_every
        default, default_spread = seconds_per_step(
            rfad(args.rows, 8, own.width, every, n), n, every * args.steps
        )
        slow = per_pair[n] * n_pairs(args.rows, n)
        print(
            f"| {n} | {fresh:.1f} +- {fresh_spread:.1f} s | {default:.2f} +- {default_spread:.2f} s (refreshed every {every} steps) "
            f"| {slow:.0f} s | {slow / fresh:.0f} x | {slow / default:.0f} x |",
            flush=True,
        )


if __name__ == "__main__":
    main()
