"""Accuracy against corruption, and what an attacker can infer about the training rows.

For each share of frozen coordinates: accuracy of kernel ridge regression on the coreset; the
distance of each item to its nearest training row, in standardised units, beside that of rows that
nobody trained on; and membership inference, by thresholding the loss of a row (area under the ROC
curve, and true positives at 1 % false positives), on the model of the coreset and on a model of the
rows themselves. With ``--shadows`` the attack is also calibrated for each row by a likelihood ratio
from shadow models of random halves (Carlini et al. 2022, LiRA, with one spread for all rows).

Every row is a training row of its data set, half of them to distil and half for evaluation; test
rows are not touched. What a share gives is appended at once to
``benchmarks/results/corruption.jsonl``, and shares that are there are not run again; ``--render``
writes the tables of ``docs/privacy.md`` and its picture from that file::

    python benchmarks/corruption.py --data digits --ipc 10 --max-iter 300 --shadows 16
    python benchmarks/corruption.py --data fashion_mnist --ipc 10 --max-iter 400
    python benchmarks/corruption.py --data cifar10_jpeg --classes 0 1 --ipc 10 --max-iter 400 \\
        --preprocessing zca
    python benchmarks/corruption.py --render
"""

import numpy as np
from _common import NAMES, SMOKE_SETTINGS, command_line, load, machine, parse
from _results import append, missing, place, read, replace_marked, sandbox
from sklearn.metrics import roc_auc_score, roc_curve
from sklearn.model_selection import train_test_split
from sklearn.neighbors import NearestNeighbors

from rfad_sklearn import ChannelStandardizer, NNGPKernelRidge, RFADDistiller

# Rows that a model of rows is fitted on.
MODEL_ROWS = 4000
# Rows on either side that accuracy and attacks are measured on.
EVAL_ROWS = 4000
# Rows that were not trained on whose distance to the training rows is measured.
_DISTANCE_ROWS = 500
# Probabilities are at least so far from 0 and 1.
_LEAST_PROBABILITY = 1e-12
# What the tables of the page stand between.
MARKS = "<!-- results: corruption.py --render -->", "<!-- end of results -->"
# What a cell is found by, besides the share.
SETTINGS = (
    "data",
    "classes",
    "ipc",
    "preprocessing",
    "minutes",
    "max_iter",
    "rows",
    "shadows",
)
SMOKE = {"data": "digits", "ipc": 1, "corruption": [0.5], "max_iter": 2, "rows": 40, "shadows": 2}


def log_odds(model, X, y):
    """Logit of the probability of the true class, and whether that class is predicted.

    The logit is large for rows that the model knows.
    """
    probabilities = model.predict_proba(X).astype(float)
    y_encoded = np.searchsorted(model.classes_, y)
    own = probabilities[np.arange(len(y)), y_encoded]
    own = np.clip(own, _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
    return np.log(own) - np.log1p(-own), probabilities.argmax(1) == y_encoded


def attack(members, others):
    """ROC figures of a statistic that is larger for members.

    The area under the curve, and the share of true positives at 1 % false positives.
    """
    truth = np.repeat([1, 0], [len(members), len(others)])
    statistic = np.concatenate([members, others])
    false, true, _ = roc_curve(truth, statistic)
    return {
        "auc": float(roc_auc_score(truth, statistic)),
        "tpr_at_1": float(np.interp(0.01, false, true)),
    }


def distances(items, X, others):
    """Median distance to the nearest training row, of the items and of rows not trained on.

    All per-channel standardised.
    """
    standardise = ChannelStandardizer().fit(X)

    def flat(rows):
        return standardise.transform(np.asarray(rows, dtype=float)).reshape(len(rows), -1)

    neighbours = NearestNeighbors(n_neighbors=1).fit(flat(X))
    return [
        float(np.median(neighbours.kneighbors(flat(rows))[0]))
        for rows in (items, others[:_DISTANCE_ROWS])
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
    fast = SMOKE_SETTINGS if args.smoke else {}
    return RFADDistiller(corruption=corruption, **{**fast, **settings}).fit(X, y).coreset_


def likelihood_ratio(model_of, n_shadows, X, y, target, inside):
    """LiRA statistic of each row for the target model: log p(in) - log p(out).

    By shadow models of random parts of the rows.
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
    log_density = {
        side: -((own - means[side]) ** 2) / (2 * spread[side] ** 2) - np.log(spread[side])
        for side in values
    }
    ratio = log_density[True] - log_density[False]
    known = np.isfinite(ratio)
    return attack(ratio[known & inside], ratio[known & ~inside])


def attacks(model_of, n_shadows, X, y, X_eval, y_eval):
    """Accuracy of a model of the rows, and what the attacks on it find."""
    model = model_of(X, y, 0)
    n = min(EVAL_ROWS, len(X), len(X_eval))
    members, _ = log_odds(model, X[:n], y[:n])
    others, right = log_odds(model, X_eval[:n], y_eval[:n])
    result = {"accuracy": float(right.mean()), "attack": attack(members, others)}
    if n_shadows:
        everything, labels = np.concatenate([X, X_eval]), np.concatenate([y, y_eval])
        result["likelihood_ratio"] = likelihood_ratio(
            model_of, n_shadows, everything, labels, model, np.arange(len(labels)) < len(y)
        )
    return result


def measure(args, corruption, X, y, X_eval, y_eval):
    """All figures for one share of frozen coordinates."""
    coresets = {}

    def model_of(rows, labels, seed):
        coresets[seed] = distil(args, corruption, rows, labels, seed)
        return NNGPKernelRidge(random_state=0).fit_coreset(coresets[seed])

    result = attacks(model_of, args.shadows, X, y, X_eval, y_eval)
    result["item_distance"], result["row_distance"] = distances(coresets[0].images, X, X_eval)
    return result


def model_of_rows(args, X, y, X_eval, y_eval):
    """The same figures for kernel ridge regression on rows themselves."""
    n = min(MODEL_ROWS, len(X))

    def model_of(rows, labels, seed):
        return NNGPKernelRidge(random_state=0).fit(rows, labels)

    return {"n": n, **attacks(model_of, args.shadows, X[:n], y[:n], X_eval[:n], y_eval[:n])}


def run(args):
    """Measure what is missing."""
    settings = {name: getattr(args, name) for name in SETTINGS}
    settings["minutes"] = None if args.max_iter else args.minutes
    cells = ({**settings, "corruption": corruption} for corruption in args.corruption)
    todo = list(missing("corruption", cells))
    if not todo:
        return
    X, y, _, _ = load(args.data, args.path, final=True, smoke=args.smoke)
    if args.classes:
        keep = np.isin(y, args.classes)
        X, y = X[keep], y[keep]
    # Half of the training rows are for evaluation: an attack needs as many rows that were not
    # trained on.
    X, X_eval, y, y_eval = train_test_split(
        X,
        y,
        stratify=y,
        test_size=0.5,
        train_size=min(args.rows or len(X), len(X) // 2),
        random_state=0,
    )
    facts = {
        "of_rows": model_of_rows(args, X, y, X_eval, y_eval),
        "n_rows": len(X),
        "machine": machine(),
    }
    print(facts, flush=True)
    for cell in todo:
        result = measure(args, cell["corruption"], X, y, X_eval, y_eval)
        append("corruption", {**cell, **result, **facts})
        print(cell["corruption"], result, flush=True)


def title(record):
    """Name of a data set and its settings."""
    classes = f", classes {', '.join(map(str, record['classes']))}" if record["classes"] else ""
    name = NAMES[record["data"]]
    return name[0].upper() + name[1:] + classes


def grouped():
    """Records of each data set, by the share of frozen coordinates."""
    groups = {}
    for record in read("corruption"):
        groups.setdefault(title(record), []).append(record)
    return {
        name: sorted(records, key=lambda record: record["corruption"])
        for name, records in groups.items()
    }


def percent(share):
    """A share in %."""
    return f"{100 * share:.1f}"


def render_table(name, records):
    """Markdown of one data set."""
    first = records[0]
    budget = f"{first['max_iter']} steps" if first["max_iter"] else f"{first['minutes']:g} minutes"
    kinds = ["attack"] + ["likelihood_ratio"] * ("likelihood_ratio" in first)
    head = ["frozen", "accuracy, %", "distance", "loss attack: AUC, %", "true positives, %"]
    head += ["likelihood ratio: AUC, %", "true positives, %"] * (len(kinds) - 1)
    table = [head, ["---"] * len(head)]
    rows = [(f"{record['corruption']:.0%}", record) for record in records]
    real = {**first["of_rows"], "item_distance": None}
    for label, record in [*rows, (f"{real['n']:,} real rows", real)]:
        distance = record["item_distance"]
        cells = [label, percent(record["accuracy"]), "" if distance is None else f"{distance:.1f}"]
        for kind in kinds:
            cells += [percent(record[kind]["auc"]), percent(record[kind]["tpr_at_1"])]
        table.append(cells)
    lines = [
        f"**{name}**, {first['ipc']} per class from {first['n_rows']:,} rows, {budget}, "
        f"preprocessing {first['preprocessing']!r}; from one",
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
    pyplot.close(figure)


def render():
    """Write the tables of the page on privacy, and its picture."""
    draw(place("corruption picture"))
    tables = [render_table(name, records) for name, records in grouped().items()]
    replace_marked("privacy", MARKS, "\n".join(tables))


def main(arguments=None):
    """Run the benchmark."""
    parser = command_line(__doc__)
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
        help="write the tables of the page on privacy from what was measured",
    )
    args = parse(parser, arguments, SMOKE)
    with sandbox(args.smoke):
        if args.data:
            run(args)
        if args.render or args.smoke:
            render()


if __name__ == "__main__":
    main()
