"""How the default's step time and peak memory grow with the numbers of items and of training rows.

Each point is a whole ``fit`` in a process of its own, of rows of noise as bytes in the shape of
Fashion-MNIST: the seconds per step between two evaluations, and the peak memory above that after
the data are made::

    python benchmarks/scaling.py
    python benchmarks/scaling.py --device cuda
"""

import json

import numpy as np
import torch
from _common import SMOKE_SETTINGS, command_line, in_a_process, machine, parse, peak_memory_gb
from _steps import N_CLASSES, default_way

from rfad_sklearn import RFADDistiller

# Rows where the number of items grows, and items where the number of rows does.
_ROWS = 20000
_ITEMS = 100
# Larger coresets than this need more time for a few steps.
_TIMED_ITEMS = 200
# Steps between two evaluations, times items.
_EVALUATION_WORK = 512
# Refreshes after which a pool is full.
_REFRESHES = 33
SMOKE = {"items": [10, 20], "rows": [100], "seconds": 0.1}


def point(task):
    """Seconds per step, with refreshes and without evaluations, and memory; in this process."""
    X, y = rows_of_bytes(task["n_rows"], task["smoke"])
    states, before = [], memory_gb(task["device"])
    settings = {
        "max_time": task["seconds"],
        "eval_every": max(_EVALUATION_WORK // task["n_items"], 2),
        "random_state": 0,
    }
    if task["smoke"]:
        settings = {**SMOKE_SETTINGS, "max_iter": 3}
    distiller = RFADDistiller(
        ipc=task["n_items"] // N_CLASSES,
        callback=states.append,
        device=task["device"],
        **settings,
    ).fit(X, y)
    return {
        "step": float(np.mean([1 / state.steps_per_second for state in states[1:-1]])),
        "steps": distiller.n_iter_,
        "memory": memory_gb(task["device"]) - before,
    }


def full_pool(task):
    """Memory once all groups of the pool are there."""
    X, y = rows_of_bytes(task["n_rows"], task["smoke"])
    before = memory_gb(task["device"])
    n_steps = _REFRESHES * default_way(task["n_items"]).refresh_interval
    settings = {"max_iter": n_steps, "eval_every": n_steps, "random_state": 0}
    RFADDistiller(
        ipc=task["n_items"] // N_CLASSES,
        device=task["device"],
        **(SMOKE_SETTINGS if task["smoke"] else settings),
    ).fit(X, y)
    return {"memory": memory_gb(task["device"]) - before}


def memory_gb(device):
    """Peak of this process, or of the GPU."""
    if device == "cpu":
        return peak_memory_gb()
    return torch.cuda.max_memory_allocated(device) / 1e9


def rows_of_bytes(n_rows, smoke):
    """Noise in the shape of Fashion-MNIST, and labels."""
    side = 8 if smoke else 28
    X = np.random.default_rng(0).integers(0, 256, (n_rows, side, side), dtype=np.uint8)
    return X, np.arange(n_rows) % N_CLASSES


def run_task(task):
    """One point, in this process."""
    return full_pool(task) if task["full_pool"] else point(task)


def run(task, args):
    """One point, in a process of its own; of a smoke run in this one."""
    task = {"device": args.device, "smoke": args.smoke, "full_pool": False, **task}
    return run_task(task) if args.smoke else in_a_process(__file__, task)


def report_growth(args):
    """Print the table, and the line through the points of a growing number of items."""
    print("| items | rows | ms per step | steps | GB above the data |")
    print("| --- | --- | --- | --- | --- |")
    n_rows = args.rows[0] if args.smoke else _ROWS
    points = [(n, n_rows) for n in args.items] + [(_ITEMS, n) for n in args.rows]
    times = []
    for n_items, n_rows in points:
        seconds = args.seconds * max(1, n_items / _TIMED_ITEMS)
        result = run({"n_items": n_items, "n_rows": n_rows, "seconds": seconds}, args)
        times.append(result["step"])
        print(
            f"| {n_items} | {n_rows} | {1e3 * result['step']:.0f} | {result['steps']} "
            f"| {result['memory']:.2f} |",
            flush=True,
        )
    own = np.array(times[: len(args.items)])
    slope, constant = np.polyfit(args.items, own, 1, w=1 / own)
    print(
        f"step = {1e3 * constant:.0f} ms + {1e3 * slope:.2f} ms per item "
        "(least squares of the relative error)"
    )


def main(arguments=None):
    """Run the benchmark."""
    parser = command_line(__doc__)
    parser.add_argument("--items", type=int, nargs="+", default=[10, 30, 100, 300, 1000])
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 6000, 20000, 60000])
    parser.add_argument("--seconds", type=float, default=25)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--task", help="one point, as JSON, in this process")
    args = parse(parser, arguments, SMOKE)
    if args.task:
        print(json.dumps(run_task(json.loads(args.task))))
        return
    print(machine())
    report_growth(args)
    for n_items, n_rows in (
        (args.items[0], args.rows[-1]),
        (args.items[-1], args.rows[0]),
        (args.items[-1], args.rows[-1]),
    ):
        task = {"n_items": n_items, "n_rows": n_rows, "full_pool": True}
        memory = run(task, args)["memory"]
        print(
            f"pool full, {n_items} items, {n_rows} rows: {memory:.2f} GB above the data", flush=True
        )


if __name__ == "__main__":
    main()
