"""RFAD, KIP, DC, DSA and real rows on the same rows and in the same wall time.

Evaluated by kernel ridge regression and by finite networks. A cell is a method, a number of items
per class, a budget and a seed; what it gives is appended at once to
``benchmarks/results/baselines_<data set>.jsonl``, and cells that are there are not run again.
``--render`` writes ``docs/notes/baselines.md`` and its pictures from these files. Without
``--final`` nothing touches the test rows: 5,000 training rows (a tenth of small data sets) are for
evaluation::

    python benchmarks/baselines.py --data digits --ipc 1 10 --minutes 0.5 2
    python benchmarks/baselines.py --data fashion_mnist --ipc 1 --minutes 1 5 \\
        --methods rfad dc dsa random
    python benchmarks/baselines.py --data fashion_mnist --ipc 1 --steps 1000 --methods dc
    python benchmarks/baselines.py --render
"""

import time
from pathlib import Path

import numpy as np
from _common import NAMES, command_line, load, machine, parse
from _results import append, missing, place, read, sandbox, write_page
from sklearn.model_selection import train_test_split

from rfad_sklearn import (
    ConvNet,
    CoresetSelector,
    FiniteNetworkClassifier,
    GradientMatchingDistiller,
    KIPDistiller,
    NNGPKernelRidge,
    RFADDistiller,
    __version__,
)

# Flips and rotations are wrong for digits.
DIGIT_CHANGES = ("color", "crop", "cutout", "scale")
DISTILLERS = {
    "rfad": (RFADDistiller, {}),
    "rfad, learned labels": (RFADDistiller, {"learn_labels": True}),
    "rfad, standardized": (RFADDistiller, {"preprocessing": "standardize"}),
    "rfad, learned labels, standardized": (
        RFADDistiller,
        {"learn_labels": True, "preprocessing": "standardize"},
    ),
    # With the kernel that evaluates all of them, and the preprocessing of the literature, as for
    # the methods below.
    "kip": (KIPDistiller, {"kernel": "nngp", "preprocessing": "standardize"}),
    "dc": (GradientMatchingDistiller, {}),
    "dsa": (GradientMatchingDistiller, {"augment": True}),
}
SELECTORS = ("random", "kmeans", "herding", "kcenter")
METHODS = (*SELECTORS, *DISTILLERS)
# How finite networks are trained, by the name of the figure.
TRAININGS = {"network": None, "normalised network": "auto"}
# Training rows that a finite network chooses its label scale by.
HELD_OUT = 500
FILES = "baselines_"
HEAD = [
    "# Baselines\n",
    "Every method of this library on the same rows and in the same wall time. Written by `python "
    "benchmarks/baselines.py --render` from",
    "`benchmarks/results/baselines_*.jsonl`; each line there says machine and version. Accuracy "
    "in %, mean and standard deviation over",
    "seeds, or over the trained networks of a single seed. *Kernel ridge*: `NNGPKernelRidge` with "
    "8 random networks. *Network*:",
    "`FiniteNetworkClassifier()`, defaults; *normalised*: with `norm='auto'`. Both choose their "
    "scales by training rows that no method",
    "saw, a tenth of them, at most 500. KIP has the NNGP kernel, by which all are evaluated, in "
    "place of its default. At ten items per class",
    "of Fashion-MNIST the lines of 12 minutes are of one machine without AMX, RFAD with three "
    "blocks and Adam; RFAD in 10 minutes on the",
    "machine with AMX, when fresh networks had 128 channels throughout; the others of RFAD are of "
    "an earlier default, with a pool.\n",
]
# The seed is one that no recorded cell has, so that something is measured.
SMOKE = {
    "data": "digits",
    "methods": ["kmeans", "dc"],
    "steps": 2,
    "seeds": [987],
    "networks": 1,
    "trainings": ["network"],
}


def coreset_of(cell, data, X, y):
    """The coreset of a cell, and the number of steps it took."""
    settings = {"ipc": cell["ipc"], "random_state": cell["seed"]}
    if cell["method"] in SELECTORS:
        return CoresetSelector(strategy=cell["method"], **settings).fit(X, y).coreset_, 0
    budget = (
        {"max_iter": cell["steps"]} if cell.get("steps") else {"max_time": 60 * cell["minutes"]}
    )
    make, changes = DISTILLERS[cell["method"]]
    if cell["method"] == "dsa" and data == "digits":
        changes = {"augment": DIGIT_CHANGES}
    distiller = make(**budget, **settings, **changes).fit(X, y)
    return distiller.coreset_, distiller.n_iter_


def evaluate(coreset, held_out, X_eval, y_eval, args, seed):
    """Accuracy by the NNGP (8 random networks) and by trained networks."""
    ridge = NNGPKernelRidge(kernel_method="random_features", random_state=seed).fit_coreset(
        coreset, *held_out
    )
    settings = {"max_iter": 2} if args.smoke else {}
    if args.width:
        settings["architecture"] = ConvNet(width=args.width)
    result = {"ridge": ridge.score(X_eval, y_eval)}
    for name in args.trainings:
        scores = []
        for k in range(args.networks):
            clf = FiniteNetworkClassifier(
                norm=TRAININGS[name], random_state=1000 * seed + k, **settings
            )
            scores.append(clf.fit_coreset(coreset, *held_out).score(X_eval, y_eval))
        result |= {name: float(np.mean(scores)), f"{name} spread": float(np.std(scores))}
    return result


def cells(args):
    """All cells of the command."""
    for ipc in sorted(args.ipc):
        for seed in args.seeds:
            for method in args.methods:
                cell = {"method": method, "ipc": ipc, "seed": seed, "final": args.final}
                if args.steps and method not in SELECTORS:
                    yield {**cell, "minutes": 0, "steps": args.steps}
                    continue
                for minutes in [0] if method in SELECTORS else sorted(args.minutes):
                    yield {**cell, "minutes": minutes}


def run(args):
    """Measure what is missing."""
    X, y, X_eval, y_eval = load(args.data, args.path, final=args.final, smoke=args.smoke)
    X, X_own, y, y_own = train_test_split(
        X, y, stratify=y, test_size=min(HELD_OUT, len(X) // 10), random_state=1
    )
    print(machine(), flush=True)
    for cell in missing(f"{FILES}{args.data}", cells(args)):
        begin = time.monotonic()
        coreset, n_iter = coreset_of(cell, args.data, X, y)
        result = {"seconds": time.monotonic() - begin, "n_iter": n_iter}
        if args.coresets:
            Path(args.coresets).mkdir(parents=True, exist_ok=True)
            name = "_".join([args.data, *map(str, cell.values())])
            coreset.save(Path(args.coresets) / f"{name}.npz")
        result |= evaluate(coreset, (X_own, y_own), X_eval, y_eval, args, cell["seed"])
        facts = {
            "n_eval": len(X_eval),
            "networks": args.networks,
            "width": args.width,
            "machine": machine(),
            "version": __version__,
        }
        append(f"{FILES}{args.data}", {**cell, **result, **facts})
        print(cell, {name: round(value, 4) for name, value in result.items()}, flush=True)


def words(records, field):
    """Mean in %, with the spread over seeds, or over the networks of one seed."""
    values = 100 * np.array([record[field] for record in records if field in record])
    if not len(values):
        return ""
    spread = values.std(ddof=1) if len(values) > 1 else 100 * records[0].get(f"{field} spread", 0)
    return f"{values.mean():.1f}" + (f" ± {spread:.1f}" if spread else "")


def key_of(record):
    """What one line of the table is about, in the order of the table."""
    method, steps = METHODS.index(record["method"]), record.get("steps") or 0
    return not record["final"], record["ipc"], method, record["minutes"], steps


def render_table(data):
    """Markdown of one data set."""
    groups, everything = {}, read(f"{FILES}{data}")
    for record in everything:
        groups.setdefault(key_of(record), []).append(record)
    machines = sorted({record["machine"] for record in everything})
    head = ["evaluated on", "per class", "method", "budget", "seeds", "steps"]
    head += ["kernel ridge", "network", "normalised network"]
    lines = [
        f"## {NAMES[data]}\n",
        f"Machine: {'; '.join(machines)}.\n",
        f"| {' | '.join(head)} |",
        "| " + " | ".join(["---"] * len(head)) + " |",
    ]
    for key in sorted(groups):
        held_out, ipc, method, minutes, steps = key
        records = groups[key]
        cells = [
            "held out" if held_out else "test",
            ipc,
            METHODS[method],
            f"{steps} steps" if steps else f"{minutes:g} min" if minutes else "",
            len(records),
            f"{np.mean([record['n_iter'] for record in records]):.0f}" if minutes or steps else "",
            *(words(records, field) for field in ("ridge", "network", "normalised network")),
        ]
        lines.append("".join(f"| {cell} " for cell in cells) + "|")
    return "\n".join([*lines, ""])


def means_by_budget(records, method, ipc, field):
    """Mean accuracy in % over the seeds for each number of minutes; of the better training.

    Minutes are measured where the budget was in steps.
    """
    fields = ("ridge",) if field == "ridge" else tuple(TRAININGS)
    groups = {}
    for record in records:
        values = [record[name] for name in fields if name in record]
        if (record["method"], record["ipc"]) == (method, ipc) and values:
            minutes = record["seconds"] / 60 if record.get("steps") else record["minutes"]
            groups.setdefault(minutes, []).append(100 * max(values))
    return {minutes: np.mean(groups[minutes]) for minutes in sorted(groups)}


def draw_panel(ax, records, ipc, field):
    """Accuracy of every method against time."""
    from matplotlib import ticker

    for k, method in enumerate(METHODS):
        means = means_by_budget(records, method, ipc, field)
        if method in SELECTORS and means:
            ax.axhline(max(means.values()), linestyle=":", color=str(0.2 * k), label=method)
        elif means:
            color = f"C{k - len(SELECTORS)}"
            ax.semilogx(means.keys(), means.values(), "o-", color=color, label=method)
    ax.set_ylabel(f"accuracy by {'kernel ridge' if field == 'ridge' else 'a network'}, %")
    ax.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter(ticker.NullFormatter())


def draw(data, path):
    """Accuracy against time: kernel ridge and trained networks, one column per number of items."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    records = read(f"{FILES}{data}")
    # Test rows, where they were touched.
    final = any(record["final"] for record in records)
    records = [record for record in records if record["final"] == final]
    sizes = sorted({record["ipc"] for record in records})
    figure, axes = pyplot.subplots(
        2, len(sizes), figsize=(4.5 * len(sizes), 6), squeeze=False, sharex=True
    )
    for column, ipc in enumerate(sizes):
        for ax, field in zip(axes[:, column], ("ridge", "network"), strict=True):
            draw_panel(ax, records, ipc, field)
        axes[0, column].set_title(f"{NAMES[data]}, {ipc} per class")
        axes[1, column].set_xlabel("minutes of distillation")
    axes[0, -1].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def render():
    """Write the page and its pictures, which lie beside it."""
    parts = list(HEAD)
    for path in sorted(place("results").glob(f"{FILES}*.jsonl")):
        data = path.stem.removeprefix(FILES)
        draw(data, place("baselines").with_name(f"{path.stem}.png"))
        picture = f"![Accuracy against minutes, {NAMES[data]}]({path.stem}.png)\n"
        parts += [render_table(data), picture]
    write_page("baselines", parts)


def main(arguments=None):
    """Run the benchmark."""
    parser = command_line(__doc__)
    parser.add_argument("--data", choices=list(NAMES))
    parser.add_argument("--path", help="its file; by default looked for in data/")
    parser.add_argument("--ipc", type=int, nargs="+", default=[1])
    parser.add_argument(
        "--methods", nargs="+", default=list(METHODS), choices=METHODS, metavar="METHOD"
    )
    parser.add_argument(
        "--minutes", type=float, nargs="+", default=[1.0], help="budgets of the distillers"
    )
    parser.add_argument(
        "--steps", type=int, help="budget of the distillers in steps, in place of minutes"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument(
        "--networks", type=int, default=2, help="finite networks that are trained on each coreset"
    )
    parser.add_argument(
        "--trainings",
        nargs="*",
        choices=list(TRAININGS),
        default=list(TRAININGS),
        help="kinds of finite networks",
    )
    parser.add_argument(
        "--width",
        type=int,
        help="of the finite networks; by default that of the coreset's architecture",
    )
    parser.add_argument("--coresets", help="folder for the coresets")
    parser.add_argument("--final", action="store_true", help="touch the test rows")
    parser.add_argument("--render", action="store_true", help="write the page of what was measured")
    args = parse(parser, arguments, SMOKE)
    with sandbox(args.smoke):
        if args.data:
            run(args)
        if args.render or args.smoke:
            render()


if __name__ == "__main__":
    main()
