"""Page of the paper's table: the best cells in short, then every cell."""

import re

import numpy as np
from _common import NAMES
from _evaluation import percent as mean_percent
from _results import read, write_page

REAL = ("random", "kmeans", "herding")
# Test accuracy in %, fixed and learned labels, KIP and RFAD: Loo et al. 2022, Table 1.
PAPER = {
    ("fashion_mnist", 1): {"fixed": (78.9, 81.6), "learned": (82.9, 84.6)},
    ("fashion_mnist", 10): {"fixed": (87.6, 90.0), "learned": (91.0, 90.3)},
    ("fashion_mnist", 50): {"fixed": (90.0, 91.3), "learned": (92.4, 91.4)},
    ("cifar10_jpeg", 1): {"fixed": (59.1, 61.1), "learned": (64.7, 61.4)},
    ("cifar10_jpeg", 10): {"fixed": (67.0, 73.1), "learned": (75.6, 73.7)},
    ("cifar10_jpeg", 50): {"fixed": (71.7, 76.1), "learned": (80.6, 76.6)},
}
# What "auto" stood for, newest first, and what was not yet there when a mark was the default; a
# change of the defaults marks the lines before it. Each lacks what those above it lack too.
DEFAULTS = {
    "auto": "",
    "unflipped": (
        "no rows were flipped in long runs, or all classes together, or by a bound so tight that "
        "CIFAR-10 was not; soft labels were kept until the coreset was as good"
    ),
    "narrower networks": "fresh networks were not twice as wide in long runs",
    "earlier weights": "random networks had independent weights: more work for the same kernel",
    "three blocks": (
        "every ConvNet had three blocks, whatever the rows (those of Fashion-MNIST and digits take "
        "two, those of CIFAR-10 three)"
    ),
    "earlier solver": "items took the steps of Adam, not of Muon, and rows had no soft labels",
    "earlier evaluation": (
        "8 networks of 128 channels in float32 chose the state to keep, not up to 16 that end wide"
    ),
    "earlier networks": "fresh networks were 4 of 128 channels, not 8 that end wide",
    "earlier pool": "50 items per class had a pool of networks, not fresh ones at every step",
    "earlier whitening": "photographs were whitened less, and along fewer directions",
}
# Parts of the time at which the learning curve is given.
PARTS = (0.125, 0.25, 0.5, 1)
# What makes records lines of one row of the table: all but the seed.
KEY = ("final", "ipc", "what", "labels", "minutes", "preprocessing")
SUMMARY = [
    "## In short\n",
    "Test accuracy of `NNGPKernelRidge` on the items of `fit` with fixed labels; default settings, "
    "the longest budget. *Real rows*:",
    "as many, the best of random ones, k-means and herding. CIFAR-10 is re-encoded as JPEG; the "
    "papers' figures are for the original.\n",
]
HEAD = [
    "# Results\n",
    "Accuracy in %, mean and standard deviation over seeds. Written by `python "
    "benchmarks/paper_table.py --render` from the files in",
    "`benchmarks/results/`; each of their lines says machine, version and budget. *Distilled* rows "
    "with fixed labels come from",
    "`RFADDistiller(ipc=..., random_state=..., max_time=...)` and nothing else, unless a "
    "preprocessing is named. *Features*: 8 random",
    "networks of 256 channels, on all rows (4 of them where *all* training rows are what is "
    "fitted); *less exact*: less the exact NNGP,",
    "in points, on the rows that both saw. ≈: features on all rows less that gap, where the exact "
    "kernel saw only some. The paper's",
    "figures are test accuracies of Table 1 of Loo et al. 2022. *Curve*: the best accuracy on the "
    "distiller's own held-out rows after an",
    "eighth, a quarter, a half and all of the time. Where it still rises the budget is what is "
    "missing. *AMX*: on one thread of a CPU",
    "with matrix units, with a faster engine than the others: two to three times as many steps in "
    "the same time. *H100*, *H200*: on such a",
    "GPU of NVIDIA, which so many other runs shared.",
    "With 1,000 evaluation rows, and by ≈, an accuracy is known to one or two points.\n",
    "| mark | an earlier default, when |",
    "| --- | --- |",
    *(f"| *{mark}* | {lacked} |" for mark, lacked in DEFAULTS.items() if lacked),
    "",
    "Each lacks what the marks above it lack too. *standardize* and *zca*: without whitening, and "
    "with that of the literature; older",
    "than all marks; at 50 items per class with 8 networks a step, later 4. *debias=True*: not the "
    "default, but the loss freed of the",
    "bias by its networks' noise ([decisions.md](decisions.md)); a parameter that was removed.",
    "With the pool ten minutes and more at ten items per class end on a plateau.\n",
]


def learning_curve(records, minutes):
    """The held-out accuracy so far at parts of the time, mean over the seeds."""
    curves = [record["curve"] for record in records if record.get("curve")]
    best = [
        [
            max(
                (
                    score
                    for seconds, score in curve
                    if score is not None and seconds <= 60 * minutes * part
                ),
                default=np.nan,
            )
            for part in PARTS
        ]
        for curve in curves
    ]
    means = np.mean(best, axis=0) if best else []
    return ", ".join("-" if np.isnan(value) else f"{100 * value:.1f}" for value in means)


def percent(records, field):
    """Mean and standard deviation, with the number of rows where it is not all of them."""
    words = mean_percent(records, field)
    n = records[0].get(f"n_{field}", records[0]["n_eval"])
    return words if not words or n == records[0]["n_eval"] else f"{words} ({n} rows)"


def budget(minutes, records):
    """Minutes, and on what: a CPU with matrix units, or a GPU by its name, and what shared it."""
    words, record = f"{minutes:g}", records[0]
    where = record.get("machine", "")
    card = re.search(r"NVIDIA (\w+)", where)
    words += f", {card[1]}" if card else ", AMX" if "AMX" in where else ""
    return words + (f" beside {record['beside']} others" if record.get("beside") else "")


def estimate(records):
    """What the exact NNGP would give on all rows, where it saw a part of them; else nothing.

    By random features on all rows, and what the exact kernel adds to that on its part.
    """
    if "features_minus_nngp" not in records[0] or all(
        record["n_nngp"] == record["n_eval"] for record in records
    ):
        return ""
    estimates = [
        {**record, "estimate": record["features"] - record["features_minus_nngp"]}
        for record in records
    ]
    return f"≈ {percent(estimates, 'estimate')}"


def gap(records):
    """Accuracy by random features less that by the exact NNGP, in points; mean over the seeds.

    On the same rows.
    """
    gaps = [
        100 * record["features_minus_nngp"] for record in records if "features_minus_nngp" in record
    ]
    return f"{np.mean(gaps):+.1f}" if gaps else ""


def table_order(key):
    """Place of a key in the table: test rows first, then by items, real rows before distilled."""
    final, ipc, what, labels, minutes, _ = key
    return not final, ipc or np.inf, what == "distilled", (what, labels), minutes


def grouped(name):
    """Records of the same cell but for the seed, in the order of the table."""
    groups = {}
    for record in read(name):
        groups.setdefault(tuple(record[field] for field in KEY), []).append(record)
    return {key: groups[key] for key in sorted(groups, key=table_order)}


def render_table(name):
    """Markdown of one data set."""
    head = ["rows", "items per class", "what", "labels", "minutes", "seeds", "steps", "exact NNGP"]
    head += ["exact NTK", "features", "less exact", "paper: KIP, RFAD", "curve"]
    lines = [
        f"## {NAMES[name]}\n",
        f"| {' | '.join(head)} |",
        "| " + " | ".join(["---"] * len(head)) + " |",
    ]
    for (final, ipc, what, labels, minutes, preprocessing), records in grouped(name).items():
        paper = PAPER.get((name, ipc), {}).get(labels) if what == "distilled" else None
        steps = [record["n_iter"] for record in records if "n_iter" in record]
        cells = [
            "test" if final else "held out",
            ipc or "all",
            what + ("" if preprocessing == "auto" else f", {preprocessing}"),
            labels,
            budget(minutes, records) if minutes else "",
            len(records),
            f"{np.mean(steps):.0f}" if steps else "",
            ", ".join(filter(None, (percent(records, "nngp"), estimate(records)))),
            *(percent(records, field) for field in ("ntk", "features")),
            gap(records),
            "" if paper is None else f"{paper[0]}, {paper[1]}",
            learning_curve(records, minutes),
        ]
        lines.append("".join(f"| {cell} " for cell in cells) + "|")
    return "\n".join(lines) + "\n"


def best_real_rows(groups, ipc):
    """Accuracy of the best kind of real rows."""
    real = [records for key, records in groups.items() if key[:2] == (True, ipc) and key[2] in REAL]
    if not real:
        return ""
    best = max(real, key=lambda records: np.mean([record["nngp"] for record in records]))
    return percent(best, "nngp")


def summary_lines(name):
    """Lines of the summary of one data set.

    The longest run of the default by itself on a CPU, with fixed labels, at 1 and 10 items per
    class.
    """
    groups = grouped(name)
    for ipc in (1, 10):
        runs = {}
        for (final, n_items, what, labels, minutes, preprocessing), records in groups.items():
            default = (what, labels, preprocessing) == ("distilled", "fixed", "auto")
            if final and n_items == ipc and default and "beside" not in budget(minutes, records):
                runs[minutes] = records
        if not runs:
            continue
        minutes = max(runs)
        known = estimate(runs[minutes]) or percent(runs[minutes], "nngp")
        paper = ", ".join(map(str, PAPER[name, ipc]["fixed"]))
        cells = [NAMES[name], str(ipc), budget(minutes, runs[minutes])]
        yield f"| {' | '.join([*cells, best_real_rows(groups, ipc), f'**{known}**', paper])} |"


def summary():
    """Test accuracy of distilled rows, beside the best real rows and the paper's figures."""
    head = ["", "items per class", "minutes", "real rows", "distilled", "papers: KIP, RFAD"]
    lines = ["|" + " | ".join(head) + " |", "| " + " | ".join(["---"] * len(head)) + " |"]
    for name in sorted({name for name, _ in PAPER}):
        lines += summary_lines(name)
    return "\n".join(lines)


def render():
    """Write the page of results."""
    tables = (render_table(name) for name in sorted(NAMES))
    write_page("paper table", [*HEAD, *SUMMARY, f"{summary()}\n", *tables])
