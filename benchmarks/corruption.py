"""Accuracy against corruption, and what an attacker can tell about the training rows.

For each share of frozen coordinates: accuracy of kernel ridge regression on the coreset; the
distance of each item to its nearest training row, in standardised units, beside that of rows that
nobody trained on; and membership inference, by thresholding the loss of a row (area under the ROC
curve, and true positives at 1 % false positives), on the model of the coreset and on a model of the
rows themselves. With ``--shadows`` the attack is also calibrated for each row by a likelihood ratio
from shadow models of random halves (Carlini et al. 2022, LiRA, with one spread for all rows).

Every row is a training row of its data set, half of them to distil and half to judge; test rows are
not touched. What a share gives is appended at once to ``benchmarks/results/corruption.jsonl``, and
shares that are there are not run again; ``--render`` writes the tables of ``docs/privacy.md`` and
its picture from that file.

    python benchmarks/corruption.py --data digits --ipc 10 --max-iter 300 --shadows 16 python
    benchmarks/corruption.py --data fashion_mnist --ipc 10 --max-iter 400 python
    benchmarks/corruption.py --data cifar10_jpeg --classes 0 1 --ipc 10 --max-iter 400
    --preprocessing zca python benchmarks/corruption.py --render
"""

import argparse

import numpy as np
from _common import machine
from _results import RESULTS, append, missing, read, replace_marked
from paper_table import load
from sklearn.metrics import roc_auc_score, roc_curve
from sklearn.model_selection import train_test_split
from sklearn.neighbors import NearestNeighbors

from rfad_sklearn import ChannelStandardizer, NNGPKernelRidge, RFADDistiller

# Rows that a model of rows is fitted on, and rows that accuracy and attacks are judged by on either
# side.
MODEL_ROWS = JUDGE_ROWS = 4000
# What the tables of docs/privacy.md stand between.
MARKS = "<!-- results: corruption.py --render -->", "<!-- end of results -->"
NAMES = {"fashion_mnist": "Fashion-MNIST", "cifar10_jpeg": "CIFAR-10 as JPEG", "digits": "Digits"}


def log_odds(model, X, y):
    """Logit of the probability of the true class: large for rows that the model knows; and which rows it predicts right."""
    probabilities, y_encoded = (
        model.predict_proba(X).astype(float),
        np.searchsorted(model.classes_, y),
    )
    own = np.clip(probabilities[np.arange(len(y)), y_encoded], 1e-12, 1 - 1e-12)
    return np.log(own) - np.log1p(-own), probabilities.argmax(1) == y_encoded


def attack(members, others):
    """Area under the ROC curve, and true positives at 1 % false positives, of a statistic that is larger for members."""
    truth = np.repeat([1, 0], [len(members), len(others)])
    statistic = np.concatenate([members, others])
    false, true, _ = roc_curve(truth, statistic)
    return {
        "auc": float(roc_auc_score(truth, statistic)),
        "tpr_at_1": float(np.interp(0.01, false, true)),
    }


def distances(items, X, others):
    """Median distance to the nearest training row, per-channel standardised: of the items, and of rows that were not trained on."""
    standardise = ChannelStandardizer().fit(X)
    flat = lambda rows: standardise.transform(np.asarray(rows, dtype=float)).reshape(len(rows), -1)  # noqa: E731
    neighbours = NearestNeighbors(n_neighbors=1).fit(flat(X))
    return [
        float(np.median(neighbours.kneighbors(flat(rows))[0])) for rows in (items, others[:500])
    ]


def distil(args, corruption, X, y, seed=0):
    """Coreset of the rows."""
    budget = {"max_iter": args.max_iter} if args.max_iter else {"max_time": 60 * args.minutes}
    settings = {
        "ipc": args.ipc,
        "preprocessing": args.preprocessing,
        "init": "noise",
        "early_stopping": False,
        "random_state": seed,
        **budget,
    }
    return RFADDistiller(corruption=corruption, **settings).fit(X, y).coreset_


def likelihood_ratio(model_of, n_shadows, X, y, target, inside):
    """LiRA statistic of each row for the target model, from shadow models of random parts: log p(in) - log p(out).

    ``model_of(X, y, seed)`` trains as the target was trained, which saw the rows ``inside``.
    """
    rng = np.random.default_rng(1)
    values = {True: [[] for _ in y], False: [[] for _ in y]}
    for shadow in range(n_shadows):
        state = int(rng.integers(2**31))
        chosen, _ = train_test_split(
            np.arange(len(y)), stratify=y, train_size=int(inside.sum()), random_state=state
        )
        known = np.isin(np.arange(len(y)), chosen)
        for k, value in enumerate(log_odds(model_of(X[known], y[known], shadow + 1), X, y)[0]):
            values[bool(known[k])][k].append(value)
    own, _ = log_odds(target, X, y)
    means = {side: np.array([np.mean(v) if v else np.nan for v in values[side]]) for side in values}
    spread = {
        side: np.nanstd(
            [v - m for vs, m in zip(values[side], means[side], strict=True) for v in vs]
        )
        for side in values
    }
    density = lambda side: (
        -((own - means[side]) ** 2) / (2 * spread[side] ** 2) - np.log(spread[side])
    )
    ratio = density(True) - density(False)
    known = np.isfinite(ratio)
    return attack(ratio[known & inside], ratio[known & ~inside])


def attacks(model_of, n_shadows, X, y, X_judge, y_judge):
    """Model of the rows, and what the attacks on it tell."""
    model = model_of(X, y, 0)
    n = min(JUDGE_ROWS, len(X), len(X_judge))
    members, _ = log_odds(model, X[:n], y[:n])
    others, right = log_odds(model, X_judge[:n], y_judge[:n])
    result = {"accuracy": float(right.mean()), "attack": attack(members, others)}
    if n_shadows:
        everything, labels = np.concatenate([X, X_judge]), np.concatenate([y, y_judge])
        result["likelihood_ratio"] = likelihood_ratio(
            model_of, n_shadows, everything, labels, model, np.arange(len(labels)) < len(y)
        )
    return result


def measure(args, corruption, X, y, X_judge, y_judge):
    """All figures for one share of frozen coordinates."""
    coresets = {}

    def model_of(rows, labels, seed):
        coresets[seed] = distil(args, corruption, rows, labels, seed)
        return NNGPKernelRidge(random_state=0).fit_coreset(coresets[seed])

    result = attacks(model_of, args.shadows, X, y, X_judge, y_judge)
    result["item_distance"], result["row_distance"] = distances(coresets[0].images, X, X_judge)
    return result


def model_of_rows(args, X, y, X_judge, y_judge):
    """The same figures for kernel ridge regression on rows themselves."""
    n = min(MODEL_ROWS, len(X))
    model_of = lambda rows, labels, seed: NNGPKernelRidge(random_state=0).fit(rows, labels)  # noqa: E731
    return {"n": n, **attacks(model_of, args.shadows, X[:n], y[:n], X_judge[:n], y_judge[:n])}


def run(args):
    """Measure what is missing."""
    settings = {
        name: getattr(args, name)
        for name in (
            "data",
            "classes",
            "ipc",
            "preprocessing",
            "minutes",
            "max_iter",
            "rows",
            "shadows",
        )
    }
    settings["minutes"] = None if args.max_iter else args.minutes
    todo = list(
        missing(
            "corruption", ({**settings, "corruption": corruption} for corruption in args.corruption)
        )
    )
    if not todo:
        return
    X, y, _, _ = load(args.data, args.path, final=True)
    if args.classes:
        keep = np.isin(y, args.classes)
        X, y = X[keep], y[keep]
    # Half of the training rows judge: an attack needs as many rows that were not trained on.
    X, X_judge, y, y_judge = train_test_split(
        X,
        y,
        stratify=y,
        test_size=0.5,
        train_size=min(args.rows or len(X), len(X) // 2),
        random_state=0,
    )
    facts = {
        "of_rows": model_of_rows(args, X, y, X_judge, y_judge),
        "n_rows": len(X),
        "machine": machine(),
    }
    print(facts, flush=True)
    for cell in todo:
        result = measure(args, cell["corruption"], X, y, X_judge, y_judge)
        append("corruption", {**cell, **result, **facts})
        print(cell["corruption"], result, flush=True)


def title(record):
    """Name of a data set and its settings."""
    classes = f", classes {', '.join(map(str, record['classes']))}" if record["classes"] else ""
    return NAMES[record["data"]] + classes


def grouped():
    """Records of each data set, by the share of frozen coordinates."""
    groups = {}
    for record in read("corruption"):
        groups.setdefault(title(record), []).append(record)
    return {
        name: sorted(records, key=lambda record: record["corruption"])
        for name, records in groups.items()
    }


def render_table(name, records):
    """Markdown of one data set."""
    first, percent = records[0], lambda share: f"{100 * share:.1f}"
    budget = f"{first['max_iter']} steps" if first["max_iter"] else f"{first['minutes']:g} minutes"
    shadows = "likelihood_ratio" in first
    head = ["frozen", "accuracy, %", "distance", "loss attack: AUC, %", "true positives, %"]
    head += ["likelihood ratio: AUC, %", "true positives, %"] if shadows else []
    table = [head, ["---"] * len(head)]
    for label, record in [
        *((f"{record['corruption']:.0%}", record) for record in records),
        (f"{first['of_rows']['n']:,} real rows", {**first["of_rows"], "item_distance": None}),
    ]:
        distance = record["item_distance"]
        cells = [label, percent(record["accuracy"]), "" if distance is None else f"{distance:.1f}"]
        for kind in ("attack", "likelihood_ratio") if shadows else ("attack",):
            cells += [percent(record[kind]["auc"]), percent(record[kind]["tpr_at_1"])]
        table.append(cells)
    lines = [
        f"**{name}**, {first['ipc']} per class from {first['n_rows']:,} rows, {budget}, preprocessing {first['preprocessing']!r}; from one",
        f"real row to the next the distance is {first['row_distance']:.1f}.\n",
        *("| " + " | ".join(cells) + " |" for cells in table),
    ]
    return "\n".join([*lines, ""])


def draw(path):
    """Accuracy and the leak against the share of frozen coordinates."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.6))
    for k, (name, records) in enumerate(grouped().items()):
        frozen = [100 * record["corruption"] for record in records]
        axes[0].plot(
            frozen,
            [100 * record["accuracy"] for record in records],
            "o-",
            color=f"C{k}",
            label=name,
        )
        for kind, style in (("attack", "o-"), ("likelihood_ratio", "s--")):
            if all(kind in record for record in records):
                values = [100 * record[kind]["auc"] for record in records]
                axes[1].plot(
                    frozen,
                    values,
                    style,
                    color=f"C{k}",
                    label=name if kind == "attack" else f"{name}, likelihood ratio",
                )
    axes[1].axhline(50, color="0.5", linewidth=1)
    axes[0].set_ylabel("accuracy, %")
    axes[1].set_ylabel("membership inference: AUC, %")
    for ax in axes:
        ax.set_xlabel("frozen coordinates, %")
        ax.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def render():
    """Write the tables of docs/privacy.md and its picture."""
    docs = RESULTS.parents[1] / "docs"
    draw(docs / "corruption.png")
    tables = [render_table(name, records) for name, records in grouped().items()]
    replace_marked(docs / "privacy.md", MARKS, "\n".join(tables))


def main():
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=list(NAMES))
    parser.add_argument("--path", help="its file; by default looked for in data/")
    parser.add_argument("--classes", type=int, nargs="+", help="only rows of these classes")
    parser.add_argument("--ipc", type=int, default=10)
    parser.add_argument(
        "--preprocessing",
        choices=["standardize", "zca"],
        default="standardize",
        help="the same for all shares: auto whitens only the first",
    )
    parser.add_argument(
        "--corruption", type=float, nargs="+", default=[0, 0.2, 0.5, 0.8, 0.9, 0.95]
    )
    parser.add_argument("--minutes", type=float, default=2, help="budget of each distillation")
    parser.add_argument(
        "--max-iter", type=int, help="steps of each distillation, in place of minutes"
    )
    parser.add_argument("--rows", type=int, help="at most so many training rows")
    parser.add_argument(
        "--shadows", type=int, default=0, help="shadow coresets of the likelihood ratio; 0: none"
    )
    parser.add_argument(
        "--render",
        action="store_true",
        help="write docs/privacy.md's tables from what was measured",
    )
    args = parser.parse_args()
    if args.data:
        run(args)
    if args.render:
        render()


if __name__ == "__main__":
    main()
