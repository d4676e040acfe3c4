"""What each choice of the defaults is worth: the default and variants of it, one change at a time, in the same wall time.

Judged by rows that are split off the training rows; test rows are not touched. What a variant gives
is appended at once to ``benchmarks/results/ablation.jsonl``, and variants that are there are not
run again; ``--render`` writes ``docs/ablation.md`` from that file.

    python benchmarks/ablation.py --data fashion_mnist --ipc 1 --minutes 1.5 python
    benchmarks/ablation.py --data fashion_mnist --ipc 10 --minutes 3 --only default
    "learning_rate=0.01" python benchmarks/ablation.py --render
"""

import argparse
import time
from dataclasses import replace

import numpy as np
from _common import machine
from _results import RESULTS, append, missing, read
from paper_table import NAMES, exact_accuracy, load

from rfad_sklearn import ConvNet, NNGPKernelRidge, RFADDistiller, __version__

CHANGES = [
    {},
    {"loss": "mse"},
    {"learn_labels": True},
    {"debias": True},
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
    {"width": 32},
    {"width": 128},
    {"depth": 1},
    {"depth": 2},
    {"depth": 3},
    {"teacher": None},
    {"teacher": "network"},
    {"mirror": True},
    {"mirror": False},
    {"pool_size": 1, "refresh_every": 1, "teacher": None},
    {"pool_size": 8},
    # For many items, and for a hundred with some time, which have no pool by default.
    {"width": 64, "pool_size": 32, "refresh_every": 10},
    {"n_networks": 4, "width": 64, "pool_size": 32, "refresh_every": 4},
    # Fresh networks of the same width in all blocks.
    {"n_networks": 4, "width": 128, "pool_size": 1, "refresh_every": 1},
    {"refresh_every": 10},
    {"init": "kmeans"},
    {"init": "herding"},
    {"init": "kcenter"},
    {"init": "noise"},
    {"preprocessing": None},
    {"preprocessing": "standardize"},
    {"preprocessing": "zca"},
    {"early_stopping": False},
]


def name_of(change):
    """As one would type it."""
    return ", ".join(f"{name}={value!r}" for name, value in change.items()) or "default"


VARIANTS = {name_of(change): change for change in CHANGES}


def features_accuracy(coreset, X_judge, y_judge):
    """Accuracy by 8 random networks of 128 channels."""
    features = NNGPKernelRidge(
        kernel_method="random_features", n_networks=8, width=128, random_state=1000
    )
    return float(features.fit_coreset(coreset).score(X_judge, y_judge))


def run(args):
    """Measure what is missing."""
    X, y, X_judge, y_judge = load(args.data, args.path, final=False)
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
        settings = {
            "ipc": args.ipc,
            "random_state": cell["seed"],
            "max_time": 60 * args.minutes,
            "preprocessing": args.preprocessing,
        }
        begin = time.monotonic()
        distiller = RFADDistiller(**{**settings, **VARIANTS[cell["variant"]]}).fit(X, y)
        result = {
            "seconds": time.monotonic() - begin,
            "n_iter": distiller.n_iter_,
            "loss": distiller.loss_curve_[-1],
        }
        if args.exact:
            pairs = distiller.coreset_.n_items * len(X_judge)
            result["nngp"], _ = exact_accuracy(
                distiller.coreset_, "nngp", X, y, X_judge, y_judge, pairs
            )
        result["features"] = features_accuracy(distiller.coreset_, X_judge, y_judge)
        if "depth" in VARIANTS[cell["variant"]]:
            three = replace(distiller.coreset_.architecture, depth=ConvNet().depth)
            result["transfer"] = features_accuracy(
                replace(distiller.coreset_, architecture=three), X_judge, y_judge
            )
        append(
            "ablation",
            {
                **cell,
                **result,
                "n_judge": len(X_judge),
                "machine": machine(),
                "version": __version__,
            },
        )
        print(
            cell["variant"], {name: round(value, 4) for name, value in result.items()}, flush=True
        )


def percent(records, field):
    """Mean in %, and spread where there is one; empty where it was not measured."""
    values = [100 * record[field] for record in records if field in record]
    if not values:
        return ""
    return f"{np.mean(values):.1f}" + (
        f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
    )


def render_table(key, records):
    """Markdown of one data set, number of items and budget; best first."""
    data, ipc, minutes, preprocessing = key
    variants = {}
    for record in records:
        variants.setdefault(record["variant"], []).append(record)
    order = sorted(
        variants, key=lambda variant: -np.mean([record["features"] for record in variants[variant]])
    )
    lines = [
        f"## {NAMES[data]}, {ipc} per class, {minutes:g} minutes"
        + (f", {preprocessing}" if preprocessing != "auto" else "")
        + "\n",
        f"{records[0]['n_judge']:,} judging rows.\n",
        "| change | seeds | steps | training loss | exact NNGP | features | by three blocks |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for variant in order:
        own = variants[variant]
        cells = [
            "**default**" if variant == "default" else f"`{variant}`",
            len(own),
            f"{np.mean([record['n_iter'] for record in own]):.0f}",
            f"{np.mean([record['loss'] for record in own]):.3f}",
            percent(own, "nngp"),
            percent(own, "features"),
            percent(own, "transfer"),
        ]
        lines.append("".join(f"| {cell} " for cell in cells) + "|")
    return "\n".join([*lines, ""])


def render():
    """Write docs/ablation.md."""
    groups = {}
    for record in read("ablation"):
        key = tuple(record[name] for name in ("data", "ipc", "minutes", "preprocessing"))
        groups.setdefault(key, []).append(record)
    parts = [
        "# One change at a time\n",
        "The default `RFADDistiller(ipc=..., random_state=..., max_time=...)` and variants of it with one change each, in the same wall time,",
        "best first. Accuracy in % on rows split off the training rows, by the exact NNGP and by 8 random networks of 128 channels; what was",
        "distilled at a given depth also by such networks of three blocks. A preprocessing in a heading was given to all. Written by",
        "`python benchmarks/ablation.py --render` from `benchmarks/results/ablation.jsonl`, whose lines say the machine. *Earlier",
        "weights*: of the default before random networks had antithetic weights; the table headed *standardize* is of an earlier one still:",
        "three blocks, and the steps of Adam. With one seed and 5,000 rows half a point (Fashion-MNIST) to most of one (CIFAR-10) is",
        "chance. The tables of the default of now had two runs at a time, one thread each, on two cores; for about a minute other short runs",
        "were beside `learning_rate=0.01` (CIFAR-10, 1 per class) and `learn_labels=True` (CIFAR-10, 10 per class).\n",
    ]
    parts += [render_table(key, groups[key]) for key in sorted(groups)]
    (RESULTS.parents[1] / "docs" / "ablation.md").write_text("\n".join(parts))


def main():
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
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
    parser.add_argument("--exact", action="store_true", help="judge by the exact NNGP too")
    parser.add_argument(
        "--render", action="store_true", help="write docs/ablation.md from what was measured"
    )
    args = parser.parse_args()
    if args.data:
        run(args)
    if args.render:
        render()


if __name__ == "__main__":
    main()
