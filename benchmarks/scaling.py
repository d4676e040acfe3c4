"""How the default's step time and peak memory grow with the number of items and with the number of training rows.

Each point is a whole ``fit`` in a process of its own, of rows of noise as bytes in the shape of
Fashion-MNIST: the seconds per step between two evaluations, and the peak memory above that after
the data are made.

    python benchmarks/scaling.py
"""

import argparse
import json
import subprocess
import sys

import numpy as np
import torch
from _common import machine, peak_memory_gb

from rfad_sklearn import RFADDistiller


def point(n_items, n_rows, seconds, device):
    """Seconds per step, refreshing included and evaluation left out, and memory, in this process."""
    X, y = rows_of_bytes(n_rows)
    states = []
    every = max(512 // n_items, 2)
    before = memory_gb(device)
    distiller = RFADDistiller(
        ipc=n_items // 10,
        max_time=seconds,
        eval_every=every,
        random_state=0,
        callback=states.append,
        device=device,
    ).fit(X, y)
    times = [1 / state.steps_per_second for state in states[1:-1]]
    return {
        "step": float(np.mean(times)),
        "steps": distiller.n_iter_,
        "memory": memory_gb(device) - before,
    }


def full_pool(n_items, n_rows, device):
    """Memory once all 32 groups are there: a new one at every step, 40 steps."""
    X, y = rows_of_bytes(n_rows)
    before = memory_gb(device)
    RFADDistiller(
        ipc=n_items // 10,
        refresh_every=1,
        max_iter=40,
        eval_every=40,
        random_state=0,
        device=device,
    ).fit(X, y)
    return {"memory": memory_gb(device) - before}


def memory_gb(device):
    """Peak of this process, or of the GPU."""
    if device == "cpu":
        return peak_memory_gb()
    return torch.cuda.max_memory_allocated(device) / 1e9


def rows_of_bytes(n_rows):
    """Noise in the shape of Fashion-MNIST."""
    return np.random.default_rng(0).integers(0, 256, (n_rows, 28, 28), dtype=np.uint8), np.arange(
        n_rows
    ) % 10


def in_a_process(*task):
    """One point, by this script in a process of its own."""
    command = [sys.executable, __file__, "--task", json.dumps(task)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise SystemExit(result.stderr)
    return json.loads(result.stdout.splitlines()[-1])


def main():
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, nargs="+", default=[10, 30, 100, 300, 1000])
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 6000, 20000, 60000])
    parser.add_argument("--seconds", type=float, default=25)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--task", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.task:
        task = json.loads(args.task)
        print(json.dumps(point(*task) if len(task) == 4 else full_pool(*task)))
        return
    print(machine())
    print("| items | rows | ms per step | steps | GB above the data |")
    print("| --- | --- | --- | --- | --- |")
    times = []
    tasks = [(n_items, 20000) for n_items in args.items] + [(100, n_rows) for n_rows in args.rows]
    for n_items, n_rows in tasks:
        # Larger coresets need longer for a few steps.
        result = in_a_process(n_items, n_rows, args.seconds * max(1, n_items / 200), args.device)
        times.append(result["step"])
        print(
            f"| {n_items} | {n_rows} | {1e3 * result['step']:.0f} | {result['steps']} | {result['memory']:.2f} |",
            flush=True,
        )
    slope, constant = np.polyfit(
        args.items, times[: len(args.items)], 1, w=1 / np.array(times[: len(args.items)])
    )
    print(
        f"step = {1e3 * constant:.0f} ms + {1e3 * slope:.2f} ms per item (least squares of the relative error)"
    )
    for n_items, n_rows in (
        (args.items[0], args.rows[-1]),
        (args.items[-1], args.rows[0]),
        (args.items[-1], args.rows[-1]),
    ):
        memory = in_a_process(n_items, n_rows, args.device)["memory"]
        print(
            f"pool full, {n_items} items, {n_rows} rows: {memory:.2f} GB above the data", flush=True
        )


if __name__ == "__main__":
    main()
