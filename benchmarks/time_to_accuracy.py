"""Held-out accuracy against wall time: the default and the paper's algorithm, on the same rows.

The same networks evaluate both. A plain step of the paper's algorithm takes about a minute on two
cores, so its curve and its clock come from different runs: the curve *per step* from the same
algorithm (fresh networks and rows at every step, Adam with a constant step size, the best of those
given) on this engine, the *clock* from the plain step, timed here. ``--paper-width`` and
``--paper-rows`` make the curve cheaper than the paper's 256 channels and 5120 rows; the output says
so. All networks have the paper's three blocks, those of the default and of the evaluation too. Only
training rows are used: some of them are held out::

    python benchmarks/time_to_accuracy.py --ipc 10 --minutes 10 --paper-steps 300
"""

import json
import time
from pathlib import Path

import numpy as np
import torch
from _common import command_line, load_fashion_mnist, machine, parse
from _steps import DEPTH, PAPER, Plain, Steps, Way

from rfad_sklearn import ConvNet, RFADDistiller
from rfad_sklearn._planning.resolution import plan_parameters, resolve_plan
from rfad_sklearn._planning.timing import Timing
from rfad_sklearn.distillers._prepare import prepare

# Steps of the paper's algorithm at which both are compared.
MARKS = (100, 300, 1000)
# Step size of the scale, which is not an item.
_SCALE_RATE = 0.01
SMOKE = {
    "ipc": 1,
    "minutes": 0.02,
    "learning_rates": [0.03],
    "paper_width": 8,
    "paper_rows": 64,
    "paper_steps": 2,
    "every": 1,
}


def objective_of(distiller, X, y, seed=None):
    """Variables at the start of a fit, and its objective; by its own seed if None."""
    context = prepare(distiller, X, y, distiller.random_state)
    # As fit does before it seeds the generator: the same networks.
    variables = context.initial_variables("random")
    seed = int(context.rng.integers(2**62)) if seed is None else seed
    timing = Timing(context, time.monotonic())
    plan = resolve_plan(plan_parameters(distiller), context, timing)
    generator = torch.Generator().manual_seed(seed)
    return variables, distiller._make_objective(plan, context, generator)


def default_distiller(args, **settings):
    """This library's default with the paper's number of blocks."""
    return RFADDistiller(
        ipc=args.ipc,
        architecture=ConvNet(depth=1 if args.smoke else DEPTH),
        early_stopping=True,
        random_state=args.seed,
        device=args.device,
        **settings,
    )


def default_curve(X, y, args):
    """(seconds since fit was called, accuracy) at every evaluation, and the number of steps."""
    curve = []

    def note(state):
        curve.append((state.time, state.validation_score))

    budget = {"max_iter": 2, "eval_every": 1} if args.smoke else {"max_time": 60 * args.minutes}
    distiller = default_distiller(args, callback=note, **budget)
    distiller.fit(X, y)
    return curve, distiller.n_iter_


def paper_curve(X, y, rate, args):
    """(step, accuracy) of the paper's algorithm with a constant step size."""
    distiller = default_distiller(
        args, n_networks=PAPER.n_networks, batch_size=args.paper_rows, pool_size=1
    )
    distiller.architecture.set_params(width=args.paper_width)
    values, objective = objective_of(distiller, X, y, seed=args.seed)
    _, evaluation = objective_of(default_distiller(args), X, y)
    values["log_scale"].fill_(np.log(objective.fit_scale(values)))
    learned = [values["X"].requires_grad_(), values["log_scale"].requires_grad_()]
    optimizer = torch.optim.Adam(
        [{"params": [learned[0]], "lr": rate}, {"params": [learned[1]], "lr": _SCALE_RATE}]
    )
    curve, begin = [], time.monotonic()
    for step in range(1, args.paper_steps + 1):
        optimizer.zero_grad()
        objective.loss(values).backward()
        optimizer.step()
        objective.after_step(values)
        if step % args.every == 0 or step in MARKS:
            now = {name: value.detach() for name, value in values.items()}
            accuracy = evaluation.validate(now, step / args.paper_steps)[0]
            curve.append((step, accuracy))
            print(
                f"  learning rate {rate}: step {step}, {time.monotonic() - begin:.0f} s, "
                f"accuracy {accuracy:.4f}",
                flush=True,
            )
    return curve


def plain_clock(args):
    """Median seconds of a plain step of the paper's algorithm."""
    way = Way(n_networks=1, width=8, n_rows=16, refresh_interval=1) if args.smoke else PAPER
    steps, plain = Steps(), Plain((28, 28, 1), 10 * args.ipc, way=way, device=args.device)
    plain.warm_up()
    for _ in range(args.plain_steps):
        plain.step(steps)
    return float(np.median(steps.totals()))


def best_so_far(curve, limit):
    """Best accuracy within that many steps, or seconds; both sides are compared by it."""
    return max(accuracy for place, accuracy in curve if place <= limit)


def time_to(curve, accuracy):
    """First moment at which the default is that accurate; None if never."""
    return next((seconds for seconds, score in curve if score >= accuracy), None)


def compare(record, args):
    """Print how long the default takes to the paper's accuracy after some steps."""
    best = max(record["paper"].values(), key=lambda curve: best_so_far(curve, args.paper_steps))
    for mark in sorted({mark for mark in MARKS if mark < args.paper_steps} | {args.paper_steps}):
        goal, clock = best_so_far(best, mark), mark * record["plain"]
        reached = time_to(record["default"], goal)
        ours = f"{reached:.0f} s, {clock / reached:.1f} x" if reached else "not reached"
        print(
            f"paper, {mark} steps: {goal:.4f} after {clock:.0f} s of the plain clock; "
            f"default: {ours}",
            flush=True,
        )
    if args.plot:
        draw(args.plot, record["default"], best, record["plain"], args.ipc)


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


def save(path, record):
    """Keep what there is."""
    if path:
        Path(path).write_text(json.dumps(record))


def options(arguments):
    """Command line."""
    parser = command_line(__doc__)
    parser.add_argument("--data", help="fashion_mnist.npz")
    parser.add_argument("--ipc", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=10, help="budget of the default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--learning-rates",
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
    return parse(parser, arguments, SMOKE)


def main(arguments=None):
    """Run the benchmark."""
    args = options(arguments)
    data = load_fashion_mnist(args.data, smoke=args.smoke)
    X, y = data["X_train"], data["y_train"]
    print(machine())
    print(
        f"The paper's curve: {PAPER.n_networks} fresh networks of {args.paper_width} channels, "
        f"{args.paper_rows} fresh rows a step, on this engine"
    )
    record = {"default": [], "paper": {}}
    if not args.no_default:
        record["default"], n_steps = default_curve(X, y, args)
        best = best_so_far(record["default"], np.inf)
        print(f"default: {n_steps} steps, best {best:.4f}", flush=True)
    for rate in args.learning_rates:
        record["paper"][rate] = paper_curve(X, y, rate, args)
        save(args.out, record)
    if args.plain_steps:
        record["plain"] = plain_clock(args)
        print(f"plain step: {record['plain']:.1f} s")
        save(args.out, record)
        compare(record, args)


if __name__ == "__main__":
    main()
