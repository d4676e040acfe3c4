"""Pages of items in any model: every cell on one page with a heat map, the front table."""

from collections import defaultdict

import numpy as np
from _common import NAMES
from _results import place, read, replace_marked, write_page

# Methods in the order of the tables, and what they are called.
METHODS = {
    "random": "random rows",
    "kmeans": "k-means rows",
    "herding": "herding",
    "centroids": "k-means centroids",
    "nngp": 'items, downstream="nngp"',
    "any": '**items, downstream="any"**',
    "all": "all rows",
}
BASELINES = ("random", "kmeans", "centroids")
# Methods of the picture, and the gain that has its strongest colour.
DRAWN, _STRONGEST = ("kmeans", "centroids", "nngp", "any"), 25
IMAGES = ("digits", "fashion_mnist", "cifar10_jpeg")
# Models that the page shows behind each scaler, and scalers by their marks.
SCALED = ("SVC", "1-NN")
SCALERS = {"": "bare", "+": "`StandardScaler`", "~": "`MinMaxScaler`"}
# The models of which the README speaks, and short names for the columns.
FRONT = ("LogisticRegression", "SVC", "1-NN", "3-NN", "RandomForest", "ExtraTrees", "MLP")
SHORT = {
    "LogisticRegression": "LogReg",
    "GaussianNB": "NB",
    "DecisionTree": "tree",
    "RandomForest": "forest",
    "ExtraTrees": "extra trees",
    "GradientBoosting": "GB",
    "HistGradientBoosting": "HistGB",
    "NNGPKernelRidge": "NNGP ridge",
    "FiniteNetwork": "network",
}
# What the README's table stands between.
MARKS = "<!-- results: any_model.py --render -->", "<!-- end of any model -->"
HEAD = [
    "# Items in any model\n",
    "What classifiers learn from a few rows per class: real ones, means of them, and distilled "
    "items. Accuracy in %, mean over seeds; *mean*: over all models of the line, with the standard "
    "deviation over seeds. Models are scikit-learn's with their defaults (200 trees, enough "
    "iterations to converge), bytes of images divided by 255, digits as they are, from 0 to 16; "
    "*+*: behind a `StandardScaler` fitted on the real rows. *NNGP ridge* and *network* are fitted "
    "on the coreset: the former takes the solved "
    "targets that items for any model have beside their labels. Models that cannot take all rows "
    "are fitted on 10,000. Written by `python "
    "benchmarks/any_model.py --render` from `benchmarks/results/any_model.jsonl`, whose lines say "
    "machine, version and seconds.\n",
]


def grouped(final):
    """Records by data set, items per class and method."""
    groups = defaultdict(lambda: defaultdict(list))
    for record in read("any_model"):
        if record["final"] == final:
            groups[record["data"], record["ipc"]][record["method"]].append(record)
    # Rows of the comparison with real rows stand for themselves.
    every = {data: methods["all"] for (data, ipc), methods in groups.items() if ipc is None}
    out = {}
    for (data, ipc), methods in groups.items():
        if ipc is not None and set(methods) - {"random"}:
            out[data, ipc] = {**methods, **({"all": every[data]} if data in every else {})}
    return out, groups


def means(records, which=0):
    """Mean score of each model over the seeds, by its name; not behind a ``MinMaxScaler``."""
    names = dict.fromkeys(name for record in records for name in record["scores"])
    names = [name for name in names if not name.endswith("~")]
    out = {}
    for name in names:
        scores = [record["scores"].get(name) for record in records]
        if all(score is not None for score in scores):
            out[name] = float(np.mean([score[which] for score in scores]))
    return out


def overall(records, names):
    """Mean over these models, and its deviation over seeds."""
    per_seed = [np.mean([record["scores"][name][0] for name in names]) for record in records]
    return float(np.mean(per_seed)), float(np.std(per_seed))


def common_names(methods):
    """Models of scikit-learn that every method of a table has a score in."""
    scored = [means(records) for method, records in methods.items() if method != "all"]
    return [name for name in scored[0] if all(name in each for each in scored)]


def short(name):
    """Heading of a model's column."""
    mark = "+" if name.endswith("+") else ""
    return SHORT.get(name.rstrip("+"), name.rstrip("+")) + mark


def table(methods, names):
    """Lines of a table of one data set and number of items."""
    yield f"| | {' | '.join(map(short, names))} | mean |"
    yield f"|{' --- |' * (len(names) + 2)}"
    for method, name in METHODS.items():
        if method not in methods:
            continue
        scores = means(methods[method])
        shown = [f"{scores[model]:.1f}" if model in scores else "" for model in names]
        known = [model for model in names if model in scores]
        mean, spread = overall(methods[method], known)
        last = f"{mean:.1f} ± {spread:.1f}" if len(methods[method]) > 1 else f"{mean:.1f}"
        yield f"| {name} | {' | '.join(shown)} | {last} |"


def margin(methods, names):
    """Items for any model against the best baseline, in words."""
    if "any" not in methods:
        return ""
    known = [overall(methods[m], names)[0] for m in BASELINES if m in methods]
    gain = overall(methods["any"], names)[0] - max(known)
    ours, bests = means(methods["any"]), [means(methods[m]) for m in BASELINES if m in methods]
    gains = {name: ours[name] - max(best[name] for best in bests) for name in names}
    worst = min(gains, key=gains.get)
    return (
        f"Items for any model against the best baseline: {gain:+.1f} points in the mean; the worst "
        f"model, {short(worst)}, {gains[worst]:+.1f} against its own best.\n"
    )


def front_names(ipc):
    """Models of the front table: of one item per class there are no three neighbours."""
    return [name for name in FRONT if not (ipc == 1 and name == "3-NN")]


def _mean_of(records, names):
    """Mean score of these models, of the records that have all of them; else nothing."""
    each = [
        np.mean([record["scores"][name][0] for name in names])
        for record in records
        if set(names) <= set(record["scores"])
    ]
    return f"{np.mean(each):.1f}" if each else ""


def behind_scalers(tables):
    """What scalers that are fitted on real rows do to items, of images."""
    heads = [f"{name}, {scaler}" for name in (*SCALED, "mean") for scaler in SCALERS.values()]
    lines = []
    for (data, ipc), methods in tables.items():
        groups = [[model] for model in SCALED] + [front_names(ipc)]
        for method, name in METHODS.items():
            cells = [
                _mean_of(methods.get(method, []), [model + mark for model in models])
                for models in groups
                for mark in SCALERS
            ]
            if data in IMAGES and all(cells[: -len(SCALERS)]):
                where = f"{NAMES.get(data, data)}, {ipc} per class"
                lines.append(f"| {where} | {name} | {' | '.join(cells)} |")
    if not lines:
        return []
    return [
        "\n## Behind scalers\n",
        "Scalers are fitted on the real rows; the seeds for which these were measured. *Mean*: of "
        f"{', '.join(map(short, FRONT))}.\n",
        f"| | | {' | '.join(heads)} |",
        f"|{' --- |' * (len(heads) + 2)}",
        *lines,
    ]


def table_rows(tables):
    """Tables by number of items: their cells, those with all of the baselines."""
    groups = defaultdict(dict)
    for (data, ipc), methods in tables.items():
        if data not in IMAGES and {*BASELINES, "any"} <= set(methods):
            groups[ipc][data] = methods
    return dict(sorted(groups.items()))


def over_tables(tables):
    """All tables at a glance: means over all models, and what single models lose."""
    groups = table_rows(tables)
    if not groups:
        return []
    shown = (*BASELINES, "any")
    lines, gains, against_random = [], [], defaultdict(list)
    for ipc, by_data in groups.items():
        for data, methods in by_data.items():
            names = common_names(methods)
            scores = {m: overall(methods[m], names)[0] for m in shown}
            gains.append(scores["any"] - max(scores[m] for m in BASELINES))
            cells = " | ".join(f"{scores[m]:.1f}" for m in shown)
            lines.append(f"| {data} | {ipc} | {cells} | {gains[-1]:+.1f} |")
            ours, random = means(methods["any"]), means(methods["random"])
            for name in names:
                against_random[name].append(ours[name] - random[name])
    lost = ", ".join(
        f"{short(name)} {np.mean(each):+.1f} ({min(each):+.1f})"
        for name, each in against_random.items()
    )
    return [
        "\n## Tables at a glance\n",
        "Mean over all models, bare and behind a scaler; *gain*: against the best baseline.\n",
        f"| | per class | {' | '.join(METHODS[m] for m in shown)} | gain |",
        f"|{' --- |' * (len(shown) + 3)}",
        *lines,
        f"\nMean gain: {np.mean(gains):+.1f} points. Models on items for any model against random "
        f"rows, mean over these lines (the worst of them): {lost}.\n",
    ]


def worth(groups):
    """How many random rows per class a model needs to do as well as on the items."""
    lines = []
    for (data, ipc), methods in sorted(groups.items(), key=str):
        if ipc is None or "any" not in methods:
            continue
        rows = sorted(
            (count, means(other["random"]))
            for (name, count), other in groups.items()
            if name == data and count is not None and "random" in other
        )
        if len(rows) < 4:
            continue
        ours, cells = means(methods["any"]), []
        for model in FRONT:
            enough = [n for n, scores in rows if scores.get(model, 0) >= ours.get(model, 200)]
            most = rows[-1][0]
            cells.append("" if model not in ours else f"{enough[0]}" if enough else f"> {most}")
        lines.append(f"| {NAMES.get(data, data)} | {ipc} | {' | '.join(cells)} |")
    if not lines:
        return []
    return [
        "\n## What an item is worth\n",
        "Random real rows per class (the smallest number that was tried) on which a model does as "
        "well as on so many items:\n",
        f"| | items | {' | '.join(map(short, FRONT))} |",
        f"|{' --- |' * (len(FRONT) + 2)}",
        *lines,
    ]


def gains_over_rows(methods):
    """What each method gives each model against random rows, by method and model."""
    names, base = common_names(methods), means(methods["random"])
    return {
        m: {name: means(methods[m])[name] - base[name] for name in names}
        for m in DRAWN
        if m in methods
    }


def panels(tables):
    """Titles and gains of the picture's panels: images one by one, the mean over tables."""
    for (data, ipc), methods in tables.items():
        if data in IMAGES and {"random", "any"} <= set(methods):
            yield f"{NAMES.get(data, data)}, {ipc} per class", gains_over_rows(methods)
    for ipc, by_data in table_rows(tables).items():
        each = [gains_over_rows(methods) for methods in by_data.values()]
        drawn = [m for m in DRAWN if all(m in one for one in each)]
        names = [name for name in each[0]["any"] if all(name in one["any"] for one in each)]
        yield (
            f"mean of {len(each)} tables, {ipc} per class",
            {m: {name: np.mean([one[m][name] for one in each]) for name in names} for m in drawn},
        )


def draw(tables, path):
    """Heat map: what each method gives each model, against random rows."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    shown = list(panels(tables))
    figure, axes = pyplot.subplots(
        len(shown), 1, figsize=(11, 0.6 + 1.35 * len(shown)), squeeze=False
    )
    for ax, (title, by_method) in zip(axes[:, 0], shown, strict=True):
        names = list(by_method["any"])
        values = np.array([[one[name] for name in names] for one in by_method.values()])
        ax.imshow(values, cmap="RdBu", vmin=-_STRONGEST, vmax=_STRONGEST, aspect="auto")
        for (i, j), gain in np.ndenumerate(values):
            color = "white" if abs(gain) > 0.6 * _STRONGEST else "black"
            ax.text(j, i, f"{gain:+.0f}", ha="center", va="center", fontsize=7, color=color)
        ax.set_yticks(range(len(values)), [METHODS[m].strip("*") for m in by_method], fontsize=8)
        ax.set_xticks(range(len(names)), map(short, names), rotation=30, ha="right", fontsize=7)
        ax.set_title(title, fontsize=9, loc="left")
    figure.tight_layout()
    figure.savefig(path, dpi=110, format="png")
    pyplot.close(figure)


def front_table(tables):
    """Lines of the README's table."""
    yield "| | per class | random rows | k-means centroids | **items for any model** | all rows |"
    yield "| --- | --- | --- | --- | --- | --- |"
    shown = ("random", "centroids", "any", "all")

    def scores(methods, ipc):
        names = [name for name in front_names(ipc) if name in common_names(methods)]
        return [overall(methods[m], names)[0] if m in methods else np.nan for m in shown]

    def line(name, ipc, figures):
        cells = ["" if np.isnan(figure) else f"{figure:.1f}" for figure in figures]
        cells[2] = f"**{cells[2]}**"
        return f"| {name} | {ipc} | {' | '.join(cells)} |"

    for (data, ipc), methods in tables.items():
        if data in IMAGES and {"random", "centroids", "any"} <= set(methods):
            yield line(NAMES.get(data, data), ipc, scores(methods, ipc))
    for ipc, by_data in table_rows(tables).items():
        figures = np.mean([scores(methods, ipc) for methods in by_data.values()], axis=0)
        yield line(f"mean of {len(by_data)} tables", ipc, figures)


def write_pages():
    """Write the page, its picture and the README's table from the file of cells."""
    parts = list(HEAD)
    final_tables, final_groups = grouped(final=True)
    for final, heading in ((True, "Test rows"), (False, "A part of the training rows")):
        tables = grouped(final)[0]
        if tables:
            parts.append(f"\n## {heading}\n")
        for (data, ipc), methods in sorted(tables.items()):
            names = common_names(methods)
            parts += [
                f"\n### {NAMES.get(data, data)}, {ipc} per class\n",
                margin(methods, names),
                *table(methods, names),
            ]
    parts += over_tables(dict(sorted(final_tables.items())))
    parts += behind_scalers(dict(sorted(final_tables.items())))
    parts += worth(final_groups)
    if final_tables:
        ordered = dict(sorted(final_tables.items()))
        parts.append(f"\n![Accuracy against random rows]({place('any model picture').name})\n")
        draw(ordered, place("any model picture"))
        replace_marked("README", MARKS, "\n".join(front_table(ordered)))
    write_page("any model", parts)
