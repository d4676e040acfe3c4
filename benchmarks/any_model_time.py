"""Seconds of a step of items for any model, trees included, and the panel's share of a run.

Rows are noise around a mean for each class, in the shape of the data: the time of a step hardly
depends on their values. The share is that of a run with the default ``eval_every``::

    python benchmarks/any_model_time.py
    python benchmarks/any_model_time.py --shapes table --ipc 5 20
"""

import numpy as np
from _common import command_line, machine, parse

from rfad_sklearn import RFADDistiller

# Shape of the rows, and their number.
SHAPES = {"images": ((28, 28), 20_000), "table": ((36,), 4_500), "small": ((8, 8), 1_200)}
N_CLASSES = 10
# Steps between two readings of the clock.
_FEW_STEPS = 5
SMOKE = {"shapes": ["small"], "ipc": [2], "steps": 10}


def rows_of(shape, n):
    """Rows of bytes, and their classes."""
    rng = np.random.default_rng(0)
    y = np.arange(n) % N_CLASSES
    means = rng.uniform(60, 190, size=(N_CLASSES, *shape))
    return np.clip(means[y] + 30 * rng.normal(size=(n, *shape)), 0, 255).astype(np.uint8), y


def measure(shape, n, ipc, steps):
    """Median seconds of a step, and seconds of an evaluation."""
    states = []
    RFADDistiller(
        ipc=ipc,
        downstream="any",
        max_iter=steps,
        eval_every=_FEW_STEPS,
        n_iter_no_change=steps,
        callback=states.append,
        random_state=0,
    ).fit(*rows_of(shape, n))
    # The first evaluation comes before all steps.
    step = float(np.median([1 / state.steps_per_second for state in states[1:]]))
    return step, states[-1].evaluation_time / len(states)


def main(arguments=None):
    """Print a table."""
    parser = command_line(__doc__)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=["images", "table"])
    parser.add_argument("--ipc", type=int, nargs="+", default=[1, 10, 50])
    parser.add_argument("--steps", type=int, default=100)
    args = parse(parser, arguments, SMOKE)
    every = RFADDistiller(downstream="any", max_iter=0).fit(*rows_of((2,), 40)).plan_.eval_every
    print(machine())
    print("| rows | items | a step, ms | an evaluation, s | the panel's share |")
    print("| --- | --- | --- | --- | --- |")
    for name in args.shapes:
        for ipc in args.ipc:
            step, evaluation = measure(*SHAPES[name], ipc, args.steps)
            share = evaluation / (evaluation + every * step)
            print(
                f"| {name} | {N_CLASSES * ipc} | {1000 * step:.0f} | {evaluation:.2f} "
                f"| {100 * share:.0f} % |",
                flush=True,
            )


if __name__ == "__main__":
    main()
