"""Seconds per step and their parts: the paper's configuration written plainly, the same on this engine, and this library's default.

The paper's configuration is 8 fresh networks of 256 channels and 5120 fresh rows at every step. All
networks have three blocks. Each measurement runs in a process of its own, for its peak memory. Rows
are noise in the shape of the data set: the time of a step does not depend on their values.

    python benchmarks/step_time.py                          # all of it; most of an hour on two
    cores python benchmarks/step_time.py --ipc 10 --shapes fashion python benchmarks/step_time.py
    --device cuda            # the same tables on a GPU
"""

import argparse
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import torch
from _common import machine, peak_memory_gb
from _steps import (
    PARTS,
    SHAPES,
    Engine,
    Plain,
    Steps,
    convolution_flops,
    convolution_speed,
    matmul_peak,
    stopwatch,
)

from rfad_sklearn import ConvNet
from rfad_sklearn._planning.plan import PoolDefaults
from rfad_sklearn._utils.device import resolve_dtype

N_CLASSES = 10
ROWS = {"plain": 5120, "paper on this engine": 5120, "default": 1024}
# Per step, of the paper and of the default.
N_NETWORKS = 8
PAPER = PoolDefaults(width=256, pool_size=1, refresh_every=1)


def setting(name, n_items):
    """Networks, their channels and the refreshes of a way."""
    return PoolDefaults.choose(ConvNet(), n_items, ROWS[name]) if name == "default" else PAPER


def measure(name, shape, n_items, repeats, device):
    """Times and memory of one way, in this process."""
    steps, before = Steps(), peak_memory_gb()
    if name == "plain":
        runner = Plain(shape, n_items, device=device)
        runner.warm_up()
        for _ in range(repeats):
            runner.step(steps)
    else:
        own = setting(name, n_items)
        every, size = (
            own.refresh_every,
            {"n_networks": N_NETWORKS, "width": own.width, "n_rows": ROWS[name]},
        )
        runner = Engine(shape, n_items, **size, refresh_every=every, device=device)
        if every > 1:
            for k in range(3):
                runner.step(Steps(), refresh=k == 0)
        for k in range(repeats if own == PAPER else 10 * repeats):
            runner.step(steps, refresh=every == 1 or k % 10 == 0)
    memory = (
        torch.cuda.max_memory_allocated(device) / 1e9
        if device != "cpu"
        else peak_memory_gb() - before
    )
    return {"parts": steps.medians(), "totals": steps.totals(), "memory": memory}


def flops(name, shape, n_items):
    """Operations of the convolutions of one step: the rows once, the coreset twice (forward, and backward to the items only)."""
    own = setting(name, n_items)
    work = convolution_flops(ConvNet(width=own.width), shape, antithetic=name != "plain")
    return N_NETWORKS * (ROWS[name] / own.refresh_every + 2 * n_items) * work


def whole_step(shape, n_items, device):
    """Seconds per step of the default without clocks inside: what a run sees."""
    own = setting("default", n_items)
    every, size = (
        own.refresh_every,
        {"n_networks": N_NETWORKS, "width": own.width, "n_rows": ROWS["default"]},
    )
    runner = Engine(shape, n_items, **size, refresh_every=every, device=device)
    objective, values = runner.objective, runner.values
    objective.config = replace(objective.config, refresh_interval=every)

    def steps(n):
        for _ in range(n):
            objective.loss(values).backward()
            runner.optimizers.step()
            runner.optimizers.zero_grad()
            objective.after_step(None)

    steps(every)
    # As many refreshes as in a run; a few steps where each has one.
    n_steps = 2 * max(every, 4)
    with stopwatch(device) as watch:
        steps(n_steps)
    return watch.seconds / n_steps


def in_a_process(task):
    """The result of one task, by this script in a process of its own."""
    result = subprocess.run(
        [sys.executable, __file__, "--task", json.dumps(task)],
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise SystemExit(result.stderr)
    return json.loads(result.stdout.splitlines()[-1])


def run_task(task):
    """Inside such a process."""
    shape = SHAPES[task["shape"]]
    if task["name"] == "whole":
        result = whole_step(shape, task["n_items"], task["device"])
    elif task["name"] == "convolutions":
        own = setting("default", task["n_items"])
        result = convolution_speed(
            shape, task["n_items"], n_networks=N_NETWORKS, width=own.width, device=task["device"]
        )
    else:
        result = measure(task["name"], shape, task["n_items"], task["repeats"], task["device"])
    print(json.dumps(result))


def report(name, shape, n_items, result, peak):
    """One row of the table."""
    totals = result["totals"]
    middle, spread = float(np.median(totals)), (max(totals) - min(totals)) / 2
    work = flops(name, shape, n_items)
    parts = " | ".join(f"{1e3 * result['parts'][part]:.1f}" for part in PARTS)
    share = 100 * work / middle / peak
    print(
        f"| {n_items} | {name} | {1e3 * middle:.1f} +- {1e3 * spread:.1f} | {parts} | {work / 1e9:.0f} | {share:.0f} % "
        f"| {result['memory']:.2f} |",
        flush=True,
    )
    return middle


def main():
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--ipc", type=int, nargs="+", default=[1, 10, 50])
    parser.add_argument(
        "--repeats",
        type=int,
        default=3,
        help="steps of the paper's configurations; ten times as many of the default",
    )
    parser.add_argument("--skip-plain", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--task", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.task:
        return run_task(json.loads(args.task))
    device = torch.device(args.device)
    fast = resolve_dtype("auto", device, reduced=True)
    peaks = {
        dtype: matmul_peak(dtype, device, size=2048 if device.type == "cpu" else 8192)
        for dtype in (torch.float32, fast)
    }
    print(machine())
    print(
        "peak of a matrix product: "
        + ", ".join(f"{str(k)[6:]} {v / 1e9:.0f} GFLOP/s" for k, v in peaks.items()),
        flush=True,
    )
    for shape in args.shapes:
        print(
            f"\n{shape} {SHAPES[shape]}: ms per step, median +- half the range, then the median of each part\n"
        )
        print(
            "| items | step | ms | "
            + " | ".join(PARTS)
            + " | GFLOP | share of the peak | GB above the start |"
        )
        print("| --- " * (len(PARTS) + 6) + "|")
        for ipc in args.ipc:
            task = {
                "shape": shape,
                "n_items": N_CLASSES * ipc,
                "repeats": args.repeats,
                "device": args.device,
            }
            times = {}
            for name in ROWS:
                if name == "plain" and args.skip_plain:
                    continue
                result = in_a_process({**task, "name": name})
                peak = peaks[torch.float32 if name == "plain" else fast]
                times[name] = report(name, SHAPES[shape], task["n_items"], result, peak)
            whole = in_a_process({**task, "name": "whole"})
            speed = in_a_process({**task, "name": "convolutions"})
            print(
                f"\nipc={ipc}: the default's step without clocks inside {1e3 * whole:.1f} ms; ",
                end="",
            )
            print(
                f"its convolutions {speed / 1e9:.0f} GFLOP/s, {100 * speed / peaks[fast]:.0f} % of the peak",
                end="",
            )
            if "plain" in times:
                print(
                    f"; plain / engine {times['plain'] / times['paper on this engine']:.1f} x, "
                    f"plain / default {times['plain'] / whole:.0f} x",
                    end="",
                )
            print("\n", flush=True)
    return None


if __name__ == "__main__":
    main()
