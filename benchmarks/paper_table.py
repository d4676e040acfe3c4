"""The paper's table on this library's defaults: distil, then evaluate, beside real rows.

Evaluated by the exact kernels and by random features. One cell is a data set, a number of items per
class, a kind of labels, a seed and a budget. What a cell gives is appended at once to
``benchmarks/results/<data set>.jsonl``; cells that are there are not run again, so an interrupted
table goes on where it was. ``--render`` writes ``docs/notes/results.md`` from these files. Without
``--final`` nothing touches the test rows: 5,000 training rows (a tenth of small data sets) are
split off for evaluation::

    python benchmarks/paper_table.py --data fashion_mnist --ipc 1 10 --labels fixed learned \\
        --minutes 5
    python benchmarks/paper_table.py --data digits --ipc 1 10 --minutes 0.5 --seeds 0 1 2
    python benchmarks/paper_table.py --data fashion_mnist --what all
    python benchmarks/paper_table.py --render

*all* is kernel ridge regression on all training rows, by random features.

With ``--coresets`` what was distilled is kept, and taken from there when the same command comes
again: ``--distil-only`` on a machine with a GPU, then the same without it on any other, which
evaluates.
"""

import json
import time
from pathlib import Path

import numpy as np
from _common import NAMES, SMOKE_SETTINGS, command_line, load, machine, parse
from _evaluation import exact_accuracy, feature_classifier
from _paper_render import REAL, render
from _results import append, missing, sandbox
from fashion_mnist import LABELS

from rfad_sklearn import (
    ConvNet,
    Coreset,
    CoresetSelector,
    NNGPKernelRidge,
    RFADDistiller,
    __version__,
)

# Networks of the evaluation by random features, and their channels.
N_NETWORKS = 8
WIDTH = 256
# Networks that stand for the kernel where it is fitted on all training rows.
ALL_NETWORKS = 4
# The networks of the evaluation have this seed.
_SEED = 1000
# Pairs that the exact kernels may be taken of, a quarter to a whole millisecond each: coresets of
# more items are evaluated on a few rows, always the same ones (--whole: on all).
PAIRS = {"nngp": 1_000_000, "ntk": 300_000, "real": 100_000}
# What makes a distillation cheap; the cell has the rest.
_FAST = {name: value for name, value in SMOKE_SETTINGS.items() if name != "random_state"}
# A seed that no recorded cell has, so that something is measured.
SMOKE = {"data": "digits", "ipc": [1], "what": ["real", "distilled", "all"], "seeds": [987]}


def coreset_of(cell, X, y, *, smoke=False):
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
        settings |= {"max_time": 60 * cell["minutes"], "learn_labels": LABELS[cell["labels"]]}
        distiller = RFADDistiller(**settings, **(_FAST if smoke else {})).fit(X, y)
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
        return coreset_of(cell, X, y, smoke=args.smoke)
    path = Path(args.coresets) / ("_".join([args.data, *map(str, cell.values())]) + ".npz")
    facts = path.with_suffix(".json")
    if facts.exists():
        return Coreset.load(path), json.loads(facts.read_text())
    coreset, known = coreset_of(cell, X, y, smoke=args.smoke)
    coreset.save(path)
    if args.beside:
        known["beside"] = args.beside
    facts.write_text(json.dumps(known))
    return coreset, known


def evaluate(coreset, rows, *, real, ntk, whole):
    """Accuracy by the exact kernels and by random features; real rows by the exact NNGP only.

    ``rows`` are ``X, y, X_eval, y_eval``.
    """
    X_eval, y_eval = rows[2:]
    result = {"n_eval": len(X_eval)}
    n_pairs = np.inf if whole else PAIRS["real" if real else "nngp"]
    result["nngp"], chosen = exact_accuracy(coreset, "nngp", *rows, n_pairs)
    result["n_nngp"] = len(chosen)
    if ntk and not real:
        result["ntk"], few = exact_accuracy(coreset, "ntk", *rows, PAIRS["ntk"])
        result["n_ntk"] = len(few)
    if not real:
        features = feature_classifier(
            coreset, n_networks=N_NETWORKS, width=WIDTH, random_state=_SEED
        )
        correct = features.predict(X_eval) == y_eval
        result |= {
            "features": float(correct.mean()),
            "features_minus_nngp": float(correct[chosen].mean() - result["nngp"]),
        }
    return result


def evaluate_all(cell, X, y, X_eval, y_eval):
    """Accuracy of kernel ridge regression on all training rows, by random features."""
    begin = time.monotonic()
    clf = NNGPKernelRidge(
        kernel_method="random_features",
        architecture=ConvNet(width=WIDTH),
        n_networks=ALL_NETWORKS,
        preprocessing=cell["preprocessing"],
        random_state=_SEED + cell["seed"],
    ).fit(X, y)
    return {
        "features": clf.score(X_eval, y_eval),
        "seconds": time.monotonic() - begin,
        "n_eval": len(X_eval),
        "networks": ALL_NETWORKS,
        "machine": machine(),
        "version": __version__,
    }


def cells(args):
    """All cells of the command, cheap ones first."""
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
    rows = load(args.data, args.path, final=args.final, smoke=args.smoke)
    X, y, _, _ = rows
    if args.coresets:
        # Before the hours, not after them.
        Path(args.coresets).mkdir(parents=True, exist_ok=True)
    print(machine(), flush=True)
    for cell in missing(args.data, cells(args)):
        if cell["what"] == "all":
            result = evaluate_all(cell, *rows)
        else:
            coreset, facts = kept_coreset_of(cell, X, y, args)
            if args.distil_only:
                print(f"distilled: {cell}", flush=True)
                continue
            real, ntk = cell["what"] in REAL, not args.skip_ntk
            result = evaluate(coreset, rows, real=real, ntk=ntk, whole=args.whole) | facts
        append(args.data, {**cell, **result})
        figures = (f"{name} {v:.4f}" for name, v in result.items() if isinstance(v, float))
        print(
            f"{args.data}, {cell['ipc'] or 'all'} per class, {cell['what']}, "
            f"{cell['labels']} labels, seed {cell['seed']}: {', '.join(figures)}",
            flush=True,
        )


def options(arguments):
    """Command line."""
    parser = command_line(__doc__)
    parser.add_argument("--data", choices=list(NAMES))
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
        help="keep the coresets, and leave their evaluation for later",
    )
    parser.add_argument(
        "--beside", type=int, help="how many other runs share the machine: noted with the result"
    )
    parser.add_argument(
        "--skip-ntk",
        action="store_true",
        help="no accuracy by the exact NTK, the most expensive of all",
    )
    parser.add_argument(
        "--whole",
        action="store_true",
        help="the exact NNGP on all evaluation rows: half an hour for 500 items",
    )
    parser.add_argument("--final", action="store_true", help="touch the test rows")
    parser.add_argument(
        "--render",
        action="store_true",
        help="write the page of results from what was measured",
    )
    args = parse(parser, arguments, SMOKE)
    if args.distil_only and not args.coresets:
        parser.error("--distil-only needs --coresets, a folder to keep them in")
    if args.beside and not args.coresets:
        parser.error("--beside is noted with the coresets; give --coresets")
    return args


def main(arguments=None):
    """Run the benchmark."""
    args = options(arguments)
    with sandbox(args.smoke):
        if args.data:
            run(args)
        if args.render or args.smoke:
            render()


if __name__ == "__main__":
    main()
