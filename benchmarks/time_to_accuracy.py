"""Held-out accuracy against wall time: this library's default and the paper's algorithm, on the same rows, judged by the same networks.

A plain step of the paper's algorithm takes about a minute on two cores, so its curve and its clock
come from different runs: the curve *per step* from the same algorithm (fresh networks and rows at
every step, Adam with a constant step size, the best of those given) on this engine, the *clock*
from the plain step, timed here. ``--paper-width`` and ``--paper-rows`` make the curve cheaper than
the paper's 256 channels and 5120 rows; the output says so. All networks have the paper's three
blocks, those of the default and those that judge too. Only training rows are used: some of them are
held out.

    python benchmarks/time_to_accuracy.py --ipc 10 --minutes 10 --paper-steps 300
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from _common import load_fashion_mnist, machine
from _steps import Plain, Steps

from rfad_sklearn import ConvNet, RFADDistiller
from rfad_sklearn.distillers._fit_context import prepare

MARKS = (100, 300, 1000)
DEPTH = ConvNet().depth


def default_curve(X, y, ipc, seconds, seed, device):
    """(seconds since fit was called, accuracy) at every evaluation."""
    curve = []
    distiller = RFADDistiller(
        ipc=ipc,
        depth=DEPTH,
        max_time=seconds,
        random_state=seed,
        device=device,
        callback=lambda state: curve.append((state.time, state.validation_score)),
    )
    distiller.fit(X, y)
    return curve, distiller.n_iter_


def paper_curve(X, y, ipc, rate, args):
    """(step, accuracy) of the paper's algorithm with a constant step size."""
    distiller = RFADDistiller(
        ipc=ipc,
        architecture=ConvNet(width=args.paper_width),
        batch_size=args.paper_rows,
        pool_size=1,
        refresh_every=1,
        random_state=args.seed,
        device=args.device,
    )
    problem = prepare(distiller, X, y, args.seed)
    objective = distiller._make_objective(problem, torch.Generator().manual_seed(args.seed))
    judge = evaluation_objective(X, y, ipc, args)
    values = problem.initial_variables("random")
    values["log_scale"].fill_(np.log(objective.fit_scale(values)))
    learned = [values["X"].requires_grad_(), values["log_scale"].requires_grad_()]
    optimizer = torch.optim.Adam(
        [{"params": [learned[0]], "lr": rate}, {"params": [learned[1]], "lr": 0.01}]
    )
    curve, begin = [], time.monotonic()
    for step in range(1, args.paper_steps + 1):
        optimizer.zero_grad()
        objective.loss(values).backward()
        optimizer.step()
        objective.after_step(values)
        if step % args.every == 0 or step in MARKS:
            accuracy, _ = judge.validate({name: value.detach() for name, value in values.items()})
            curve.append((step, accuracy))
            print(
                f"  rate {rate}: step {step}, {time.monotonic() - begin:.0f} s, accuracy {accuracy:.4f}",
                flush=True,
            )
    return curve


def evaluation_objective(X, y, ipc, args):
    """What judges the default: a few networks that stay, on the held-out rows."""
    distiller = RFADDistiller(ipc=ipc, depth=DEPTH, random_state=args.seed, device=args.device)
    problem = prepare(distiller, X, y, args.seed)
    # As fit does before it seeds the generator: the same networks.
    problem.initial_variables("random")
    return distiller._make_objective(
        problem, torch.Generator().manual_seed(int(problem.rng.integers(2**62)))
    )


def best_so_far(curve, limit):
    """Best accuracy within that many steps, or seconds; both sides are judged by it."""
    return max(accuracy for place, accuracy in curve if place <= limit)


def time_to(curve, accuracy):
    """First moment at which the default is that accurate; None if never."""
    return next((seconds for seconds, score in curve if score >= accuracy), None)


def draw(path, default, paper, plain_seconds, ipc):
    """Accuracy against seconds, logarithmic."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), constrained_layout=True)
    for curve, clock, label in (
        (default, 1, "rfad_sklearn, defaults"),
        (paper, plain_seconds, "the paper's algorithm, plain float32 clock"),
    ):
        best = np.maximum.accumulate([accuracy for _, accuracy in curve])
        axes.semilogx([place * clock for place, _ in curve], 100 * best, label=label)
    axes.set(
        xlabel="seconds",
        ylabel="best held-out accuracy so far (%)",
        title=f"Fashion-MNIST, {ipc} per class",
    )
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=110)


def main():
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="fashion_mnist.npz")
    parser.add_argument("--ipc", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=10, help="budget of the default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--learning_rates",
        type=float,
        nargs="+",
        default=[0.03, 0.1],
        help="step sizes of the paper's algorithm",
    )
    parser.add_argument("--paper-width", type=int, default=256)
    parser.add_argument("--paper-rows", type=int, default=5120)
    parser.add_argument("--paper-steps", type=int, default=100)
    parser.add_argument(
        "--every", type=int, default=20, help="steps between two points of the paper's curve"
    )
    parser.add_argument(
        "--plain-steps", type=int, default=1, help="plain steps to time; 0 leaves the clock out"
    )
    parser.add_argument("--no-default", action="store_true", help="leave the default out")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", help="JSON file for the curves")
    parser.add_argument("--plot", help="picture")
    args = parser.parse_args()
    data = load_fashion_mnist(args.data)
    X, y = data["X_train"], data["y_train"]
    print(machine())
    print(
        f"The paper's curve: 8 fresh networks of {args.paper_width} channels, {args.paper_rows} fresh rows a step, on this engine"
    )
    record = {"default": [], "paper": {}}
    if not args.no_default:
        record["default"], n_steps = default_curve(
            X, y, args.ipc, 60 * args.minutes, args.seed, args.device
        )
        print(
            f"default: {n_steps} steps, best {best_so_far(record['default'], np.inf):.4f}",
            flush=True,
        )
    for rate in args.learning_rates:
        record["paper"][rate] = paper_curve(X, y, args.ipc, rate, args)
        save(args.out, record)
    if args.plain_steps:
        steps, plain = Steps(), Plain((28, 28, 1), 10 * args.ipc, device=args.device)
        plain.warm_up()
        for _ in range(args.plain_steps):
            plain.step(steps)
        record["plain"] = float(np.median(steps.totals()))
        print(f"plain step: {record['plain']:.1f} s")
        save(args.out, record)
        best = max(record["paper"].values(), key=lambda curve: best_so_far(curve, args.paper_steps))
        for mark in [mark for mark in MARKS if mark <= args.paper_steps]:
            goal, clock = best_so_far(best, mark), mark * record["plain"]
            reached = time_to(record["default"], goal)
            ours = f"{reached:.0f} s, 1/{clock / reached:.0f}" if reached else "not reached"
            print(
                f"paper, {mark} steps: {goal:.4f} after {clock:.0f} s of the plain clock; default: {ours}",
                flush=True,
            )
        if args.plot:
            draw(args.plot, record["default"], best, record["plain"], args.ipc)


def save(path, record):
    """Keep what there is."""
    if path:
        Path(path).write_text(json.dumps(record))


if __name__ == "__main__":
    main()
