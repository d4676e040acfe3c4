"""Seconds per step and their parts: the paper's configuration plainly, here, and the default.

The paper's configuration is 8 fresh networks of 256 channels and 5120 fresh rows at every step:
written as a beginner would (*plain*), and on this engine. All networks have three blocks. Each
measurement runs in a process of its own, for its peak memory. Rows are noise in the shape of the
data set: the time of a step does not depend on their values.

All of it takes most of an hour on two cores; a part of it; the same tables on a GPU::

    python benchmarks/step_time.py
    python benchmarks/step_time.py --ipc 10 --shapes fashion
    python benchmarks/step_time.py --device cuda
"""

import json
import math

import numpy as np
import torch
from _common import command_line, in_a_process, machine, parse, peak_memory_gb
from _steps import (
    N_CLASSES,
    PAPER,
    PARTS,
    SHAPES,
    Engine,
    Plain,
    Steps,
    Way,
    convolution_flops,
    convolution_speed,
    default_way,
    matmul_peak,
    stopwatch,
)

from rfad_sklearn._utils.device import resolve_dtype

ROWS = ("plain", "paper on this engine", "default")
# Steps of the default for each step of the paper's configuration: they are that much shorter.
_DEFAULT_STEPS = 10
# Sides of the matrices whose product is the peak.
_PEAK_SIZE = 2048
_PEAK_SIZE_ON_GPU = 8192
# One cheap measurement of each kind.
SMOKE = {"shapes": ["small"], "ipc": [1], "repeats": 1}
_SMOKE_PAPER = Way(n_networks=2, width=16, n_rows=64, refresh_interval=1)


def way_of(task):
    """Networks, their channels, rows and refreshes of a measurement."""
    if task["name"] in ("plain", "paper on this engine"):
        return _SMOKE_PAPER if task["smoke"] else PAPER
    sizes = {"n_networks": 2, "n_rows": 64} if task["smoke"] else {}
    return default_way(task["n_items"], **sizes)


def measure(task):
    """Times and memory of one way, in this process."""
    shape, n_items, device = SHAPES[task["shape"]], task["n_items"], task["device"]
    way, steps, before = way_of(task), Steps(), peak_memory_gb()
    if task["name"] == "plain":
        runner = Plain(shape, n_items, way=way, device=device)
        runner.warm_up()
        for _ in range(task["repeats"]):
            runner.step(steps)
    else:
        runner = Engine(shape, n_items, way, timed=True, device=device)
        every = way.refresh_interval
        if every > 1:
            for k in range(3):
                runner.step(Steps(), refresh=k == 0)
        n_steps = task["repeats"] * (_DEFAULT_STEPS if task["name"] == "default" else 1)
        for k in range(n_steps):
            runner.step(steps, refresh=every == 1 or k % 10 == 0)
    if device == "cpu":
        memory = peak_memory_gb() - before
    else:
        memory = torch.cuda.max_memory_allocated(device) / 1e9
    return {"parts": steps.medians(), "totals": steps.totals(), "memory": memory}


def whole_step(task):
    """Seconds per step of the default without clocks inside: what a run sees."""
    way, device = way_of(task), task["device"]
    runner = Engine(SHAPES[task["shape"]], task["n_items"], way, timed=False, device=device)
    runner.run(way.refresh_interval)
    # As many refreshes as in a run; a few steps where each has one.
    n_steps = 2 * max(way.refresh_interval, 4)
    with stopwatch(device) as watch:
        runner.run(n_steps)
    return watch.seconds / n_steps


def run_task(task):
    """The result of one measurement, in this process."""
    if task["name"] == "whole":
        return whole_step(task)
    if task["name"] == "convolutions":
        shape = SHAPES[task["shape"]]
        return convolution_speed(shape, task["n_items"], way_of(task), task["device"])
    return measure(task)


def flops(task):
    """Operations of the convolutions of one step.

    The rows pass once, the coreset twice: forward, and backward to the items only.
    """
    way, shape = way_of(task), SHAPES[task["shape"]]
    work = convolution_flops(way.spec, shape, crelu=task["name"] != "plain")
    return way.n_networks * (way.n_rows / way.refresh_interval + 2 * task["n_items"]) * work


def report(task, result, peak):
    """Print one row of the table; gives the median seconds."""
    totals = result["totals"]
    middle, spread = float(np.median(totals)), (max(totals) - min(totals)) / 2
    work = flops(task)
    cells = [
        f"{task['n_items']}",
        task["name"],
        f"{1e3 * middle:.1f} +- {1e3 * spread:.1f}",
        *(f"{1e3 * result['parts'][part]:.1f}" for part in PARTS),
        f"{work / 1e9:.0f}",
        f"{100 * work / middle / peak:.0f} %",
        f"{result['memory']:.2f}",
    ]
    print(f"| {' | '.join(cells)} |", flush=True)
    return middle


def report_items(task, names, peaks, fast, run):
    """Print the rows of one number of items, and how they compare."""
    times = {}
    for name in names:
        own = {**task, "name": name}
        times[name] = report(own, run(own), peaks[torch.float32 if name == "plain" else fast])
    whole, speed = (run({**task, "name": name}) for name in ("whole", "convolutions"))
    words = [f"the default's step without clocks inside {1e3 * whole:.1f} ms"]
    if not math.isnan(speed):
        share = f"{100 * speed / peaks[fast]:.0f} % of the peak"
        words.append(f"its convolutions {speed / 1e9:.0f} GFLOP/s, {share}")
    if "plain" in times:
        words += [
            f"plain / engine {times['plain'] / times['paper on this engine']:.1f} x",
            f"plain / default {times['plain'] / whole:.0f} x",
        ]
    print(f"\n{task['n_items']} items: {'; '.join(words)}\n", flush=True)


def main(arguments=None):
    """Run the benchmark."""
    parser = command_line(__doc__)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=["fashion", "cifar"])
    parser.add_argument("--ipc", type=int, nargs="+", default=[1, 10, 50])
    parser.add_argument(
        "--repeats",
        type=int,
        default=3,
        help="steps of the paper's configurations; ten times as many of the default",
    )
    parser.add_argument("--skip-plain", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--task", help="one measurement, as JSON, in this process")
    args = parse(parser, arguments, SMOKE)
    if args.task:
        print(json.dumps(run_task(json.loads(args.task))))
        return
    device = torch.device(args.device)
    fast = resolve_dtype("auto", device, reduced=True)
    size = _PEAK_SIZE if device.type == "cpu" else _PEAK_SIZE_ON_GPU
    peaks = {
        dtype: matmul_peak(dtype, device, size) for dtype in dict.fromkeys([torch.float32, fast])
    }
    speeds = (f"{str(dtype)[6:]} {peak / 1e9:.0f} GFLOP/s" for dtype, peak in peaks.items())
    print(machine())
    print(f"matrix products: {', '.join(speeds)}", flush=True)

    def run(task):
        return run_task(task) if args.smoke else in_a_process(__file__, task)

    head = ["items", "step", "ms", *PARTS, "GFLOP", "share of the peak", "GB above the start"]
    for shape in args.shapes:
        print(f"\n{shape} {SHAPES[shape]}: ms per step, median +- half the range, and its parts\n")
        for ipc in args.ipc:
            print(f"| {' | '.join(head)} |")
            print("| --- " * len(head) + "|")
            task = {"shape": shape, "n_items": N_CLASSES * ipc, "smoke": args.smoke}
            task |= {"repeats": args.repeats, "device": args.device}
            report_items(task, ROWS[args.skip_plain :], peaks, fast, run)


if __name__ == "__main__":
    main()
