"""Accuracy against corruption, and what an attacker can tell about the training rows.

For each share of frozen coordinates: accuracy of kernel ridge regression on the coreset; the distance of each item to its nearest
training row, in standardised units, beside that of rows that nobody trained on; and membership inference, by thresholding the loss of a
row (area under the ROC curve, and true positives at 1 % false positives), on the model of the coreset and on a model of the rows
themselves. With ``--shadows`` the attack is calibrated by a likelihood ratio for each row (Carlini et al. 2022, LiRA, with one spread for
all rows) from coresets of random halves. All rows are training rows of the data set; its test rows are not touched.

    python benchmarks/corruption.py --data digits --ipc 10 --max-iter 300 --shadows 16
    python benchmarks/corruption.py --data fashion_mnist --ipc 10 --minutes 3 --rows 10000
    python benchmarks/corruption.py --data cifar10_jpeg --classes 0 1 --ipc 10 --minutes 3 --preprocessing zca
"""

import argparse

import numpy as np
from _common import machine
from _results import append
from paper_table import load
from sklearn.metrics import roc_auc_score, roc_curve
from sklearn.model_selection import train_test_split
from sklearn.neighbors import NearestNeighbors

from rfad_sklearn import ChannelStandardizer, NNGPKernelRidge, RFADDistiller

# Rows that a model of all rows is fitted on, and rows that an attack is judged by on either side.
MODEL_ROWS, ATTACK_ROWS = 4000, 2000


def log_odds(model, X, y):
    """Logit of the probability of the true class: large for rows that the model knows."""
    own = model.predict_proba(X)[np.arange(len(y)), np.searchsorted(model.classes_, y)].astype(float)
    own = np.clip(own, 1e-12, 1 - 1e-12)
    return np.log(own) - np.log1p(-own)


def attack(members, others):
    """Area under the ROC curve, and true positives at 1 % false positives, of a statistic that is larger for members."""
    truth = np.repeat([1, 0], [len(members), len(others)])
    statistic = np.concatenate([members, others])
    false, true, _ = roc_curve(truth, statistic)
    return {"auc": float(roc_auc_score(truth, statistic)), "tpr_at_1": float(np.interp(0.01, false, true))}


def distances(items, X, others):
    """Median distance to the nearest training row, per-channel standardised: of the items, and of rows that were not trained on."""
    standardise = ChannelStandardizer().fit(X)
    flat = lambda rows: standardise.transform(np.asarray(rows, dtype=float)).reshape(len(rows), -1)  # noqa: E731
    neighbours = NearestNeighbors(n_neighbors=1).fit(flat(X))
    return [float(np.median(neighbours.kneighbors(flat(rows))[0])) for rows in (items, others[:500])]


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


def likelihood_ratio(args, corruption, X, y, target, rows_in):
    """LiRA statistic of each row for the target model, from shadow coresets of random halves: log p(in) - log p(out)."""
    rng = np.random.default_rng(1)
    values = {True: [[] for _ in y], False: [[] for _ in y]}
    for shadow in range(args.shadows):
        inside = np.zeros(len(y), dtype=bool)
        inside[
            train_test_split(np.arange(len(y)), stratify=y, train_size=int(rows_in.sum()), random_state=int(rng.integers(2**31)))[0]
        ] = True
        model = NNGPKernelRidge(random_state=0).fit_coreset(distil(args, corruption, X[inside], y[inside], shadow + 1))
        for k, value in enumerate(log_odds(model, X, y)):
            values[bool(inside[k])][k].append(value)
    own = log_odds(target, X, y)
    means = {side: np.array([np.mean(v) if v else np.nan for v in values[side]]) for side in values}
    spread = {side: np.nanstd([v - m for vs, m in zip(values[side], means[side], strict=True) for v in vs]) for side in values}
    density = lambda side: -((own - means[side]) ** 2) / (2 * spread[side] ** 2) - np.log(spread[side])  # noqa: E731
    ratio = density(True) - density(False)
    known = np.isfinite(ratio)
    return attack(ratio[known & rows_in], ratio[known & ~rows_in])


def measure(args, corruption, X, y, X_judge, y_judge):
    """All figures for one share of frozen coordinates."""
    coreset = distil(args, corruption, X, y)
    model = NNGPKernelRidge(random_state=0).fit_coreset(coreset)
    result = {"corruption": corruption, "accuracy": float(model.score(X_judge, y_judge))}
    result["item_distance"], result["row_distance"] = distances(coreset.images, X, X_judge)
    n = min(ATTACK_ROWS, len(X), len(X_judge))
    result["attack"] = attack(log_odds(model, X[:n], y[:n]), log_odds(model, X_judge[:n], y_judge[:n]))
    if args.shadows:
        everything, labels = np.concatenate([X, X_judge]), np.concatenate([y, y_judge])
        inside = np.arange(len(labels)) < len(y)
        result["likelihood_ratio"] = likelihood_ratio(args, corruption, everything, labels, model, inside)
    return result


def main():
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=["fashion_mnist", "cifar10_jpeg", "digits"], default="digits")
    parser.add_argument("--path", help="its file; by default looked for in data/")
    parser.add_argument("--classes", type=int, nargs="+", help="only rows of these classes")
    parser.add_argument("--ipc", type=int, default=10)
    parser.add_argument("--preprocessing", choices=["auto", "zca"], default="auto")
    parser.add_argument("--corruption", type=float, nargs="+", default=[0, 0.2, 0.5, 0.8, 0.9, 0.95])
    parser.add_argument("--minutes", type=float, default=2, help="budget of each distillation")
    parser.add_argument("--max-iter", type=int, help="steps of each distillation, in place of minutes")
    parser.add_argument("--rows", type=int, help="at most so many training rows")
    parser.add_argument("--shadows", type=int, default=0, help="shadow coresets of the likelihood ratio; 0: none")
    args = parser.parse_args()
    X, y, _, _ = load(args.data, args.path, final=True)
    if args.classes:
        keep = np.isin(y, args.classes)
        X, y = X[keep], y[keep]
    # Half of the training rows judge: an attack needs as many rows that were not trained on.
    X, X_judge, y, y_judge = train_test_split(
        X, y, stratify=y, test_size=0.5, train_size=min(args.rows or len(X), len(X) // 2), random_state=0
    )
    print(machine(), flush=True)
    direct = NNGPKernelRidge(random_state=0).fit(X[:MODEL_ROWS], y[:MODEL_ROWS])
    n = min(ATTACK_ROWS, MODEL_ROWS, len(X), len(X_judge))
    found = attack(log_odds(direct, X[:n], y[:n]), log_odds(direct, X_judge[:n], y_judge[:n]))
    print(f"model of {min(MODEL_ROWS, len(X))} rows: accuracy {direct.score(X_judge[:2000], y_judge[:2000]):.3f}, attack {found}")
    print(
        "| frozen | accuracy | item to nearest row | row to nearest row | attack: AUC | TPR at 1 % | likelihood ratio: AUC | TPR at 1 % |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for corruption in args.corruption:
        result = measure(args, corruption, X, y, X_judge, y_judge)
        settings = {name: value for name, value in vars(args).items() if name != "path"}
        append("corruption", {**settings, **result, "of_rows": found, "n_rows": len(X), "machine": machine()})
        ratio = result.get("likelihood_ratio", {"auc": np.nan, "tpr_at_1": np.nan})
        numbers = [result["item_distance"], result["row_distance"]]
        shares = [result["accuracy"], result["attack"]["auc"], result["attack"]["tpr_at_1"], ratio["auc"], ratio["tpr_at_1"]]
        shares = [f"{100 * share:.1f}" for share in shares]
        print(
            f"| {corruption:.0%} | {shares[0]} | {numbers[0]:.1f} | {numbers[1]:.1f} | " + " | ".join(shares[1:]) + " |", flush=True
        )


if __name__ == "__main__":
    main()
