"""The paper's table on this library's defaults: distil, evaluate by the exact kernels and by random features, beside real rows.

One cell is a data set, a number of items per class, a kind of labels, a seed and a budget. What a
cell gives is appended at once to ``benchmarks/results/<data set>.jsonl``; cells that are there are
not run again, so an interrupted table goes on where it was. ``--render`` writes ``docs/results.md``
and the README's table from these files. Without ``--final`` nothing touches the test rows: 5,000
training rows (a tenth of small data sets) are split off and judge.

    python benchmarks/paper_table.py --data fashion_mnist --ipc 1 10 --labels fixed learned
    --minutes 5 python benchmarks/paper_table.py --data digits --ipc 1 10 --minutes 0.5 --seeds 0 1
    2 python benchmarks/paper_table.py --data fashion_mnist --what all python
    benchmarks/paper_table.py --render

*all* is kernel ridge regression on all training rows, by random features.

With ``--coresets`` what was distilled is kept, and taken from there when the same command comes
again: ``--distil-only`` on a machine with a GPU, then the same without it on any other, which
judges.
"""

import argparse
import json
import re
import time
from pathlib import Path

import numpy as np
from _common import load_cifar10, load_fashion_mnist, machine
from _results import RESULTS, append, missing, read, replace_marked
from fashion_mnist import LABELS
from sklearn.model_selection import train_test_split

from rfad_sklearn import Coreset, CoresetSelector, NNGPKernelRidge, RFADDistiller, __version__
from rfad_sklearn.datasets import load_digits_images

REAL = ("random", "kmeans", "herding")
# Networks of 256 channels that stand for the kernel where it is fitted on all training rows.
ALL_NETWORKS = 4
# Test accuracy in %, fixed and learned labels, KIP and RFAD: Loo et al. 2022, Table 1.
PAPER = {
    ("fashion_mnist", 1): {"fixed": (78.9, 81.6), "learned": (82.9, 84.6)},
    ("fashion_mnist", 10): {"fixed": (87.6, 90.0), "learned": (91.0, 90.3)},
    ("fashion_mnist", 50): {"fixed": (90.0, 91.3), "learned": (92.4, 91.4)},
    ("cifar10_jpeg", 1): {"fixed": (59.1, 61.1), "learned": (64.7, 61.4)},
    ("cifar10_jpeg", 10): {"fixed": (67.0, 73.1), "learned": (75.6, 73.7)},
    ("cifar10_jpeg", 50): {"fixed": (71.7, 76.1), "learned": (80.6, 76.6)},
}
NAMES = {"fashion_mnist": "Fashion-MNIST", "cifar10_jpeg": "CIFAR-10 as JPEG", "digits": "digits"}
# What "auto" stood for, newest first, and what was not yet there when a mark was the default; a
# change of the defaults marks the lines before it. Each lacks what those above it lack too.
DEFAULTS = {
    "auto": "",
    "unmirrored": "no rows were flipped in long runs: not asked, or all classes together, or by a bound so tight that CIFAR-10 said no; "
    "a teacher was kept until the coreset was as good",
    "narrower networks": "fresh networks were not twice as wide in long runs",
    "earlier weights": "random networks had independent weights: more work for the same kernel",
    "three blocks": "every ConvNet had three blocks, and rows had no say (those of Fashion-MNIST and digits take two, those of CIFAR-10 three)",
    "earlier solver": "items took the steps of Adam, not of Muon, and rows had no teacher",
    "earlier judges": "8 networks of 128 channels in float32 chose the state to keep, not up to 16 that end wide",
    "earlier networks": "fresh networks were 4 of 128 channels, not 8 that end wide",
    "earlier pool": "50 items per class had a pool of networks, not fresh ones at every step",
    "earlier whitening": "photographs were whitened less, and along fewer directions",
}
# What the README's table stands between.
MARKS = "<!-- results: paper_table.py --render -->", "<!-- end of results -->"
# Pairs that the exact kernels may be taken of, a quarter to a whole millisecond each: coresets of
# more items are judged by the last number of rows, always the same ones (--whole: by all).
PAIRS = {"nngp": 1_000_000, "ntk": 300_000, "real": 100_000}
FEW_ROWS = 1000
# Parts of the time at which the learning curve is told.
PARTS = (0.125, 0.25, 0.5, 1)


def load(name, path, final):
    """Rows to distil and rows that judge."""
    if name == "digits":
        X, y = load_digits_images()
        X, X_judge, y, y_judge = train_test_split(X, y, stratify=y, random_state=0)
    else:
        data = {"fashion_mnist": load_fashion_mnist, "cifar10_jpeg": load_cifar10}[name](path)
        X, y, X_judge, y_judge = (data[key] for key in ("X_train", "y_train", "X_test", "y_test"))
    if not final:
        X, X_judge, y, y_judge = train_test_split(
            X, y, stratify=y, test_size=min(5000, len(X) // 10), random_state=0
        )
    return X, y, X_judge, y_judge


def coreset_of(cell, X, y):
    """The coreset of a cell, distilled or of real rows, and what is known of how it was made."""
    begin, facts = time.monotonic(), {"machine": machine(), "version": __version__}
    settings = {
        "ipc": cell["ipc"],
        "random_state": cell["seed"],
        "preprocessing": cell["preprocessing"],
    }
    if cell["what"] != "distilled":
        coreset = CoresetSelector(strategy=cell["what"], **settings).fit(X, y).coreset_
    else:
        distiller = RFADDistiller(
            **settings, max_time=60 * cell["minutes"], learn_labels=LABELS[cell["labels"]]
        ).fit(X, y)
        curve = [
            (round(entry["seconds"], 1), entry.get("validation_score"))
            for entry in distiller.history_
        ]
        facts |= {
            "n_iter": distiller.n_iter_,
            "validation": distiller.best_validation_score_,
            "curve": curve,
        }
        facts |= {
            "teacher": distiller.teacher_score_,
            "flipped": distiller.flipped_classes_.tolist(),
        }
        coreset = distiller.coreset_
    return coreset, {**facts, "seconds": time.monotonic() - begin}


def kept_coreset_of(cell, X, y, args):
    """The same, from the folder of coresets where it is there, else put there."""
    if not args.coresets:
        return coreset_of(cell, X, y)
    path = Path(args.coresets) / ("_".join([args.data, *map(str, cell.values())]) + ".npz")
    facts = path.with_suffix(".json")
    if facts.exists():
        return Coreset.load(path), json.loads(facts.read_text())
    coreset, known = coreset_of(cell, X, y)
    coreset.save(path)
    if args.beside:
        known["beside"] = args.beside
    facts.write_text(json.dumps(known))
    return coreset, known


def few_rows(n, n_chosen=FEW_ROWS):
    """The same rows of n, whatever is judged by them."""
    return np.random.default_rng(0).permutation(n)[:n_chosen]


def exact_accuracy(coreset, kernel, X, y, X_judge, y_judge, n_pairs):
    """Accuracy by the exact kernel on all judging rows, or on a few where that would be more pairs than these, and which rows they are."""
    n = len(X_judge) if coreset.n_items * len(X_judge) <= n_pairs else FEW_ROWS
    chosen = few_rows(len(X_judge), n)
    # The accuracy does not depend on the scale: a few training rows satisfy the refit that another
    # kernel asks for.
    clf = NNGPKernelRidge(kernel=kernel, kernel_method="exact").fit_coreset(
        coreset, X[:512], y[:512]
    )
    return float((clf.predict(X_judge[chosen]) == y_judge[chosen]).mean()), chosen


def evaluate(coreset, X, y, X_judge, y_judge, *, real, ntk, whole):
    """Accuracy by the exact kernels, and by 8 random networks of 256 channels; real rows by the exact NNGP only."""
    result = {"n_judge": len(X_judge)}
    n_pairs = np.inf if whole else PAIRS["real" if real else "nngp"]
    result["nngp"], chosen = exact_accuracy(coreset, "nngp", X, y, X_judge, y_judge, n_pairs)
    result["n_nngp"] = len(chosen)
    if ntk and not real:
        result["ntk"], rows = exact_accuracy(coreset, "ntk", X, y, X_judge, y_judge, PAIRS["ntk"])
        result["n_ntk"] = len(rows)
    if not real:
        features = NNGPKernelRidge(
            kernel_method="random_features", n_networks=8, width=256, random_state=1000
        ).fit_coreset(coreset)
        correct = features.predict(X_judge) == y_judge
        result |= {
            "features": float(correct.mean()),
            "features_minus_nngp": float(correct[chosen].mean() - result["nngp"]),
        }
    return result


def evaluate_all(cell, X, y, X_judge, y_judge):
    """Accuracy of kernel ridge regression on all training rows, by random features."""
    begin = time.monotonic()
    clf = NNGPKernelRidge(
        kernel_method="random_features",
        n_networks=ALL_NETWORKS,
        width=256,
        preprocessing=cell["preprocessing"],
        random_state=1000 + cell["seed"],
    ).fit(X, y)
    facts = {
        "n_judge": len(X_judge),
        "networks": ALL_NETWORKS,
        "machine": machine(),
        "version": __version__,
    }
    return {"features": clf.score(X_judge, y_judge), "seconds": time.monotonic() - begin, **facts}


def cells(args):
    """All cells that the command asks for, cheap ones first."""
    for ipc in sorted(args.ipc):
        for seed in args.seeds:
            base = {
                "ipc": ipc,
                "seed": seed,
                "final": args.final,
                "preprocessing": args.preprocessing,
            }
            # A few real images are better off unwhitened.
            own = args.preprocessing if args.preprocessing != "auto" else "standardize"
            for what in REAL if "real" in args.what else ():
                yield {**base, "preprocessing": own, "what": what, "labels": "fixed", "minutes": 0}
            for labels in args.labels if "distilled" in args.what else ():
                yield {**base, "what": "distilled", "labels": labels, "minutes": args.minutes}
    for seed in args.seeds if "all" in args.what and not args.distil_only else ():
        base = {"ipc": None, "seed": seed, "final": args.final, "preprocessing": args.preprocessing}
        yield {**base, "what": "all", "labels": "fixed", "minutes": 0}


def run(args):
    """Measure what is missing."""
    X, y, X_judge, y_judge = load(args.data, args.path, args.final)
    if args.coresets:
        # Before the hours, not after them.
        Path(args.coresets).mkdir(parents=True, exist_ok=True)
    print(machine(), flush=True)
    for cell in missing(args.data, cells(args)):
        if cell["what"] == "all":
            result = evaluate_all(cell, X, y, X_judge, y_judge)
        else:
            coreset, facts = kept_coreset_of(cell, X, y, args)
            if args.distil_only:
                print(f"distilled: {cell}", flush=True)
                continue
            result = evaluate(
                coreset,
                X,
                y,
                X_judge,
                y_judge,
                real=cell["what"] in REAL,
                ntk=not args.skip_ntk,
                whole=args.whole,
            )
            result |= facts
        append(args.data, {**cell, **result})
        print(
            f"{args.data}, {cell['ipc'] or 'all'} per class, {cell['what']}, {cell['labels']} labels, seed {cell['seed']}: "
            + ", ".join(
                f"{name} {value:.4f}" for name, value in result.items() if isinstance(value, float)
            ),
            flush=True,
        )


def told_curve(records, minutes):
    """The held-out accuracy so far at parts of the time, mean over the seeds."""
    curves = [record["curve"] for record in records if record.get("curve")]
    best = [
        [
            max(
                (score for seconds, score in curve if seconds <= 60 * minutes * part),
                default=np.nan,
            )
            for part in PARTS
        ]
        for curve in curves
    ]
    return (
        ", ".join(
            "-" if np.isnan(value) else f"{100 * value:.1f}" for value in np.mean(best, axis=0)
        )
        if best
        else ""
    )


def percent(records, field):
    """Mean and, of several seeds, standard deviation; with the number of rows where it is not all of them."""
    values = 100 * np.array([record[field] for record in records if field in record])
    if not len(values):
        return ""
    words = f"{values.mean():.1f}" + (f" ± {values.std(ddof=1):.1f}" if len(values) > 1 else "")
    n = records[0].get(f"n_{field}", records[0]["n_judge"])
    return words if n == records[0]["n_judge"] else f"{words} ({n} rows)"


def budget(minutes, records):
    """Minutes, and on what: a CPU with matrix units, or a GPU by its name, which other runs shared."""
    words, record = f"{minutes:g}", records[0]
    where = record.get("machine", "")
    card = re.search(r"NVIDIA (\w+)", where)
    words += f", {card[1]}" if card else ", AMX" if "AMX" in where else ""
    return words + (f" beside {record['beside']} others" if record.get("beside") else "")


def estimate(records):
    """What the exact NNGP would give on all judging rows, where it saw only a part of them; else nothing.

    By random features on all rows, and what the exact kernel adds to that on its part.
    """
    if "features_minus_nngp" not in records[0] or all(
        record["n_nngp"] == record["n_judge"] for record in records
    ):
        return ""
    estimates = [
        {**record, "estimate": record["features"] - record["features_minus_nngp"]}
        for record in records
    ]
    return f"≈ {percent(estimates, 'estimate')}"


def gap(records):
    """Accuracy by random features less that by the exact NNGP on the same rows, in points; the mean over the seeds."""
    gaps = [
        100 * record["features_minus_nngp"] for record in records if "features_minus_nngp" in record
    ]
    return f"{np.mean(gaps):+.1f}" if gaps else ""


def grouped(name):
    """Records of the same cell but for the seed, in the order of the table."""
    groups = {}
    for record in read(name):
        key = tuple(
            record[field]
            for field in ("final", "ipc", "what", "labels", "minutes", "preprocessing")
        )
        groups.setdefault(key, []).append(record)
    order = lambda key: (not key[0], key[1] or np.inf, key[2] == "distilled", key[2:4], key[4])  # noqa: E731
    return {key: groups[key] for key in sorted(groups, key=order)}


def render_table(name):
    """Markdown of one data set."""
    lines = [
        f"## {NAMES[name]}\n",
        "| rows | items per class | what | labels | minutes | seeds | steps | exact NNGP | exact NTK | features | less exact "
        "| paper: KIP, RFAD | curve |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for (final, ipc, what, labels, minutes, preprocessing), records in grouped(name).items():
        paper = PAPER.get((name, ipc), {}).get(labels) if what == "distilled" else None
        cells = [
            "test" if final else "held out",
            ipc or "all",
            what + ("" if preprocessing == "auto" else f", {preprocessing}"),
            labels,
            budget(minutes, records) if minutes else "",
            len(records),
            f"{np.mean([record['n_iter'] for record in records]):.0f}"
            if "n_iter" in records[0]
            else "",
            ", ".join(filter(None, (percent(records, "nngp"), estimate(records)))),
            *(percent(records, field) for field in ("ntk", "features")),
            gap(records),
            "" if paper is None else f"{paper[0]}, {paper[1]}",
            told_curve(records, minutes),
        ]
        lines.append("".join(f"| {cell} " for cell in cells) + "|")
    return "\n".join(lines) + "\n"


def readme_table():
    """What the README shows: test accuracy of distilled rows, beside the best kind of real rows and the paper's figures."""
    lines = [
        "| exact NNGP, test accuracy in % | items per class | minutes | real rows | fixed labels (paper: KIP, RFAD) | learned (paper) |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for path in sorted(RESULTS.glob("*.jsonl")):
        if path.stem not in {name for name, _ in PAPER}:
            continue
        groups = grouped(path.stem)
        cells = {
            (key[1], key[4], key[5], key[3]) for key in groups if key[0] and key[2] == "distilled"
        }
        # Where the default was run with such labels, that of now or one before, nothing else is
        # shown.
        for default in DEFAULTS:
            shown = {(cell[0], cell[3]) for cell in cells if cell[2] == default}
            cells = {
                cell for cell in cells if cell[2] == default or (cell[0], cell[3]) not in shown
            }
        for ipc, minutes, preprocessing in sorted({cell[:3] for cell in cells}):
            own = {
                labels: groups[True, ipc, "distilled", labels, minutes, preprocessing]
                for labels in ("fixed", "learned")
                if (ipc, minutes, preprocessing, labels) in cells
            }
            real = [
                records
                for key, records in groups.items()
                if key[:2] == (True, ipc) and key[2] in REAL
            ]
            best = max(
                real,
                key=lambda records: np.mean([record["nngp"] for record in records]),
                default=[],
            )
            values = [percent(best, "nngp") if best else ""]
            for labels in ("fixed", "learned"):
                paper = PAPER.get((path.stem, ipc), {}).get(labels, ("", ""))
                elsewhere = any((cell[0], cell[3]) == (ipc, labels) for cell in cells)
                absent = "" if elsewhere else "not run"
                known = labels in own and (estimate(own[labels]) or percent(own[labels], "nngp"))
                values.append(f"**{known}** ({paper[0]}, {paper[1]})" if known else absent)
            name = NAMES[path.stem] + ("" if preprocessing == "auto" else f", {preprocessing}")
            lines.append(
                f"| {name} | {ipc} | {budget(minutes, next(iter(own.values())))} | "
                + " | ".join(values)
                + " |"
            )
        everything = [
            records
            for key, records in groups.items()
            if key[0] and key[2] == "all" and key[5] == "auto"
        ]
        lines += [
            f"| {NAMES[path.stem]} | all |  | {percent(records, 'features')} by random features |  |  |"
            for records in everything
        ]
    return "\n".join(lines)


def render():
    """Write docs/results.md, and the table in the README."""
    parts = [
        "# Results\n",
        "Accuracy in %, mean and standard deviation over seeds. Written by `python benchmarks/paper_table.py --render` from the files in",
        "`benchmarks/results/`; each of their lines says machine, version and budget. *Distilled* rows with fixed labels come from",
        "`RFADDistiller(ipc=..., random_state=..., max_time=...)` and nothing else, unless a preprocessing is named. *Features*: 8 random",
        "networks of 256 channels, on all rows (4 of them where *all* training rows are what is fitted); *less exact*: less the exact NNGP,",
        "in points, on the rows that both saw. ≈: features on all rows less that gap, where the exact kernel saw only some. The paper's",
        "figures are test accuracies of Table 1 of Loo et al. 2022. *Curve*: the best accuracy on the distiller's own held-out rows after an",
        "eighth, a quarter, a half and all of the time. Where it still rises the budget is what is missing. *AMX*: on one thread of a CPU",
        "with matrix units, with a faster engine than the others: two to three times as many steps in the same time. *H100*, *H200*: on such a",
        "GPU of NVIDIA, which so many other runs shared.",
        "Judged by 1,000 rows, and by ≈, an accuracy is known to one or two points.\n",
        "| mark | a default of before, when |",
        "| --- | --- |",
        *(f"| *{mark}* | {lacked} |" for mark, lacked in DEFAULTS.items() if lacked),
        "",
        "Each lacks what the marks above it lack too. *standardize* and *zca*: without whitening, and with that of the literature; older",
        "than all marks; at 50 items per class with 8 networks a step, later 4. *debias=True*: not the default, but the loss freed of the",
        "bias by its networks' noise ([choices.md](choices.md)).",
        "With the pool ten minutes and more at ten items per class end on a plateau.\n",
    ]
    parts += [
        render_table(path.stem) for path in sorted(RESULTS.glob("*.jsonl")) if path.stem in NAMES
    ]
    (RESULTS.parents[1] / "docs" / "results.md").write_text("\n".join(parts))
    replace_marked(RESULTS.parents[1] / "README.md", MARKS, readme_table())


def main():
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=["fashion_mnist", "cifar10_jpeg", "digits"])
    parser.add_argument("--path", help="its file; by default looked for in data/")
    parser.add_argument("--ipc", type=int, nargs="+", default=[1])
    parser.add_argument("--labels", nargs="+", choices=LABELS, default=["fixed"])
    parser.add_argument(
        "--what", nargs="+", choices=["real", "distilled", "all"], default=["real", "distilled"]
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--minutes", type=float, default=5.0, help="budget of each distillation")
    parser.add_argument("--preprocessing", choices=["auto", "standardize", "zca"], default="auto")
    parser.add_argument(
        "--coresets", help="folder that keeps the coresets, made where there is none"
    )
    parser.add_argument(
        "--distil-only",
        action="store_true",
        help="keep the coresets, and leave judging them for later",
    )
    parser.add_argument(
        "--beside", type=int, help="how many other runs share the machine: noted with the result"
    )
    parser.add_argument(
        "--skip-ntk", action="store_true", help="no accuracy by the exact NTK, the dearest of all"
    )
    parser.add_argument(
        "--whole",
        action="store_true",
        help="the exact NNGP on all rows that judge: half an hour for 500 items",
    )
    parser.add_argument("--final", action="store_true", help="touch the test rows")
    parser.add_argument(
        "--render",
        action="store_true",
        help="write docs/results.md and the README's table from what was measured",
    )
    args = parser.parse_args()
    if args.distil_only and not args.coresets:
        parser.error("--distil-only needs --coresets, a folder to keep them in")
    if args.beside and not args.coresets:
        parser.error("--beside is noted with the coresets; give --coresets")
    if args.data:
        run(args)
    if args.render:
        render()


if __name__ == "__main__":
    main()
