"""What each part of the defaults is worth: variants with one change each, in the same wall time.

Evaluated on rows that are split off the training rows; test rows are not touched. What a variant
gives is appended at once to ``benchmarks/results/ablation.jsonl``, and variants that are there are
not run again; ``--render`` writes ``docs/notes/ablation.md`` from that file::

    python benchmarks/ablation.py --data fashion_mnist --ipc 1 --minutes 1.5
    python benchmarks/ablation.py --data fashion_mnist --ipc 10 --minutes 3 \\
        --only default "learning_rate=0.01"
    python benchmarks/ablation.py --render

That file also has lines of variants by parameters that were removed, ``debias`` and
``refresh_every``.
"""

import time
from dataclasses import replace

import numpy as np
from _common import NAMES, SMOKE_SETTINGS, command_line, load, machine, parse
from _evaluation import exact_accuracy, feature_classifier, percent
from _results import append, missing, read, sandbox, write_page

from rfad_sklearn import ConvNet, RFADDistiller, __version__

CHANGES = [
    {},
    {"loss": "mse"},
    {"learn_labels": True},
    {"learn_labels": "solve"},
    {"reg": 5e-4},
    {"reg": 5e-2},
    {"solver": "adam"},
    {"learning_rate": 0.01},
    {"learning_rate": 0.1},
    {"batch_size": 512},
    {"batch_size": 2048},
    {"n_networks": 4},
    {"n_networks": 16},
    {"architecture": ConvNet(width=32)},
    {"architecture": ConvNet(width=128)},
    {"architecture": ConvNet(depth=1)},
    {"architecture": ConvNet(depth=2)},
    {"architecture": ConvNet(depth=3)},
    {"teacher": None},
    {"teacher": "network"},
    {"augment": True},
    {"augment": False},
    {"pool_size": 1, "teacher": None},
    {"pool_size": 8},
    # For many items, and for a hundred with some time, which have no pool by default.
    {"architecture": ConvNet(width=64), "pool_size": 32},
    # Fresh networks of the same width in all blocks.
    {"n_networks": 4, "architecture": ConvNet(width=128), "pool_size": 1},
    {"init": "kmeans"},
    {"init": "herding"},
    {"init": "kcenter"},
    {"init": "noise"},
    {"preprocessing": None},
    {"preprocessing": "standardize"},
    {"preprocessing": "zca"},
    {"early_stopping": False},
]
# Networks of the evaluation.
N_NETWORKS = 8
WIDTH = 128
# What was distilled at a given depth is also evaluated by networks of so many blocks.
_TRANSFER_DEPTH = 3
HEAD = [
    "# One change at a time\n",
    "The default `RFADDistiller(ipc=..., random_state=..., max_time=...)` and variants of it with "
    "one change each, in the same wall time,",
    "best first. Accuracy in % on rows split off the training rows, by the exact NNGP and by 8 "
    "random networks of 128 channels; what was",
    "distilled at a given depth also by such networks of three blocks. A preprocessing in a "
    "heading was given to all. Written by",
    "`python benchmarks/ablation.py --render` from `benchmarks/results/ablation.jsonl`, whose "
    "lines say the machine. *Earlier",
    "weights*: of the default before random networks had CReLU weights; the table headed "
    "*standardize* is of an earlier one still:",
    "three blocks, and the steps of Adam. `debias` and `refresh_every` are parameters that were "
    "removed. With one seed and 5,000 rows half a",
    "point (Fashion-MNIST) to most of one (CIFAR-10) is chance. The tables with neither in their "
    "heading had two runs at a time, one thread",
    "each, on two cores; for about a minute other short runs were beside `learning_rate=0.01` "
    "(CIFAR-10, 1 per class) and `learn_labels=True`",
    "(CIFAR-10, 10 per class).\n",
]
SMOKE = {"data": "digits", "only": ["architecture=ConvNet(depth=1)"], "minutes": 0.0, "exact": True}


def name_of(change):
    """As one would type it."""
    return ", ".join(f"{name}={value!r}" for name, value in change.items()) or "default"


VARIANTS = {name_of(change): change for change in CHANGES}


def features_accuracy(coreset, X_eval, y_eval):
    """Accuracy by 8 random networks of 128 channels."""
    clf = feature_classifier(coreset, n_networks=N_NETWORKS, width=WIDTH, random_state=1000)
    return float(clf.score(X_eval, y_eval))


def measure(cell, args, X, y, X_eval, y_eval):
    """What a variant gives."""
    settings = {
        "ipc": args.ipc,
        "random_state": cell["seed"],
        "max_time": 60 * args.minutes,
        "preprocessing": args.preprocessing,
    }
    change = VARIANTS[cell["variant"]]
    if args.smoke:
        settings = {"ipc": args.ipc, **SMOKE_SETTINGS}
    begin = time.monotonic()
    distiller = RFADDistiller(**{**settings, **change}).fit(X, y)
    coreset = distiller.coreset_
    result = {
        "seconds": time.monotonic() - begin,
        "n_iter": distiller.n_iter_,
        "loss": distiller.loss_curve_[-1],
    }
    if args.exact:
        n_pairs = coreset.n_items * len(X_eval)
        result["nngp"], _ = exact_accuracy(coreset, "nngp", X, y, X_eval, y_eval, n_pairs)
    result["features"] = features_accuracy(coreset, X_eval, y_eval)
    if getattr(change.get("architecture"), "depth", None) is not None:
        deep = replace(coreset.architecture, depth=_TRANSFER_DEPTH, width=WIDTH)
        transferred = replace(coreset, architecture=deep)
        result["transfer"] = features_accuracy(transferred, X_eval, y_eval)
    return result


def run(args):
    """Measure what is missing."""
    X, y, X_eval, y_eval = load(args.data, args.path, smoke=args.smoke)
    print(machine(), flush=True)
    cells = (
        {
            "data": args.data,
            "ipc": args.ipc,
            "minutes": args.minutes,
            "seed": seed,
            "preprocessing": args.preprocessing,
            "variant": variant,
        }
        for seed in args.seeds
        for variant in args.only
    )
    for cell in missing("ablation", cells):
        result = measure(cell, args, X, y, X_eval, y_eval)
        facts = {"n_eval": len(X_eval), "machine": machine(), "version": __version__}
        append("ablation", {**cell, **result, **facts})
        rounded = {name: round(value, 4) for name, value in result.items()}
        print(cell["variant"], rounded, flush=True)


def mean(records, field):
    """Mean of a field over the seeds."""
    return np.mean([record[field] for record in records])


def render_table(key, records):
    """Markdown of one data set, number of items and budget; best first."""
    data, ipc, minutes, preprocessing = key
    variants = {}
    for record in records:
        variants.setdefault(record["variant"], []).append(record)
    title = f"## {NAMES[data]}, {ipc} per class, {minutes:g} minutes"
    lines = [
        title + (f", {preprocessing}" if preprocessing != "auto" else "") + "\n",
        f"{records[0]['n_eval']:,} evaluation rows.\n",
        "| change | seeds | steps | training loss | exact NNGP | features | by three blocks |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for variant in sorted(variants, key=lambda name: -mean(variants[name], "features")):
        own = variants[variant]
        cells = [
            "**default**" if variant == "default" else f"`{variant}`",
            len(own),
            f"{mean(own, 'n_iter'):.0f}",
            f"{mean(own, 'loss'):.3f}",
            *(percent(own, field) for field in ("nngp", "features", "transfer")),
        ]
        lines.append("".join(f"| {cell} " for cell in cells) + "|")
    return "\n".join([*lines, ""])


def render():
    """Write the page."""
    groups = {}
    for record in read("ablation"):
        key = tuple(record[name] for name in ("data", "ipc", "minutes", "preprocessing"))
        groups.setdefault(key, []).append(record)
    write_page("ablation", [*HEAD, *(render_table(key, groups[key]) for key in sorted(groups))])


def main(arguments=None):
    """Run the benchmark."""
    parser = command_line(__doc__)
    parser.add_argument("--data", choices=list(NAMES))
    parser.add_argument("--path", help="its file; by default looked for in data/")
    parser.add_argument("--ipc", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=1.5, help="budget of each distillation")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument(
        "--preprocessing",
        choices=["auto", "standardize", "zca"],
        default="auto",
        help="of all variants but those that change it",
    )
    parser.add_argument("--exact", action="store_true", help="evaluate by the exact NNGP too")
    parser.add_argument("--render", action="store_true", help="write the page of what was measured")
    args = parse(parser, arguments, SMOKE)
    with sandbox(args.smoke):
        if args.data:
            run(args)
        if args.render or args.smoke:
            render()


if __name__ == "__main__":
    main()
