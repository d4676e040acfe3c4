"""Command line, data and machine of the benchmarks."""

import argparse
import contextlib
import io
import json
import os
import platform
import resource
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from sklearn.model_selection import train_test_split

import rfad_sklearn
from rfad_sklearn import ConvNet, RFADDistiller
from rfad_sklearn._utils.device import has_fast_bfloat16
from rfad_sklearn.datasets import load_digits_images

# Names of the data sets in tables.
NAMES = {
    "fashion_mnist": "Fashion-MNIST",
    "cifar10_jpeg": "CIFAR-10 as JPEG",
    "digits": "digits",
}
FASHION_NAMES = [
    "T-shirt",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Boot",
]
# Most training rows that are held out for evaluation, and their largest share.
_MOST_EVAL_ROWS = 5000
_EVAL_SHARE = 10
# Share of the training rows of a table that are for evaluation.
_TABLE_EVAL_SHARE = 0.3
# Rows of the smoke run.
_SMOKE_TRAIN_ROWS = 200
_SMOKE_TEST_ROWS = 60


# Command line


def command_line(doc):
    """Parser with the first line of a docstring as its description, and ``--smoke``."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument(
        "--smoke",
        action="store_true",
        help="one cheap step or cell, on digits where a data set is needed; keeps no result",
    )
    return parser


def parse(parser, arguments, smoke):
    """Options of a command line; with ``--smoke`` those named in ``smoke`` have its values."""
    options = parser.parse_args(arguments)
    if options.smoke:
        vars(options).update(smoke)
    return options


def in_a_process(script, task):
    """The last line, JSON, of a script that is run with ``--task`` in a process of its own."""
    result = subprocess.run(
        [sys.executable, script, "--task", json.dumps(task)],
        capture_output=True,
        text=True,
        check=False,
        env=child_environment(),
    )
    if result.returncode:
        raise SystemExit(result.stderr)
    return json.loads(result.stdout.splitlines()[-1])


def child_environment(**changes):
    """Environment of a process that imports the same ``rfad_sklearn`` as this one."""
    root = str(Path(rfad_sklearn.__file__).resolve().parents[1])
    paths = filter(None, [root, os.environ.get("PYTHONPATH")])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **changes}


# Data


def find(name, path=None):
    """A data file: the given one, else ``data/<name>`` here, in this checkout or a sibling."""
    root = Path(__file__).resolve().parents[1]
    candidates = [
        Path("data") / name,
        root / "data" / name,
        *root.parent.glob(f"*/data/{name}"),
    ]
    for candidate in [Path(path)] if path else candidates:
        if candidate.is_file():
            return candidate
    return None


def load_fashion_mnist(path=None, *, smoke=False):
    """Fashion-MNIST; downloaded from OpenML when no file is found.

    Returns a dict of ``X_train (60000, 28, 28)``, ``y_train``, ``X_test`` and ``y_test``; for a
    smoke run a few digits in the same form.
    """
    if smoke:
        return load_smoke("fashion_mnist")
    found = find("fashion_mnist.npz", path)
    if found:
        with np.load(found) as data:
            return {name: data[name] for name in ("X_train", "y_train", "X_test", "y_test")}
    from sklearn.datasets import fetch_openml

    X, y = fetch_openml("Fashion-MNIST", version=1, return_X_y=True, as_frame=False)
    X, y = X.reshape(-1, 28, 28).astype(np.uint8), y.astype(np.uint8)
    return {"X_train": X[:60000], "y_train": y[:60000], "X_test": X[60000:], "y_test": y[60000:]}


def load_cifar10(path=None):
    """CIFAR-10 re-encoded as JPEG, like :func:`load_fashion_mnist`.

    Its file holds ``train_jpeg`` and ``test_jpeg``, the bytes of all JPEG files one after another;
    ``train_offsets`` and ``test_offsets``, where each image starts, and at last the end;
    ``y_train`` and ``y_test``.
    """
    found = find("cifar10_jpeg.npz", path)
    if not found:
        raise SystemExit("cifar10_jpeg.npz was not found; give its path, or put it into data/.")
    with np.load(found) as data:
        parts = {
            part: decoded(data[f"{part}_jpeg"], data[f"{part}_offsets"])
            for part in ("train", "test")
        }
        return {f"X_{part}": images for part, images in parts.items()} | {
            f"y_{part}": data[f"y_{part}"] for part in parts
        }


def decoded(stream, offsets):
    """Images ``(n, H, W, 3)`` of JPEG files that lie one after another."""
    from PIL import Image

    files = (stream[start:stop].tobytes() for start, stop in pairwise(offsets))
    return np.stack([np.asarray(Image.open(io.BytesIO(file)).convert("RGB")) for file in files])


def load_smoke(name):
    """A few digits of 8x8 pixels as bytes, in the form of a larger data set."""
    X, y = load_digits_images()
    # From 0 to 16, as floats.
    X = (X * (255 / 16)).astype(np.uint8)
    if name == "cifar10_jpeg":
        X = np.repeat(X[..., None], 3, axis=3)
    X_train, X_test, y_train, y_test = train_test_split(
        X,
        y.astype(np.uint8),
        stratify=y,
        train_size=_SMOKE_TRAIN_ROWS,
        test_size=_SMOKE_TEST_ROWS,
        random_state=0,
    )
    return {"X_train": X_train, "y_train": y_train, "X_test": X_test, "y_test": y_test}


def load(name, path=None, *, final=False, smoke=False):
    """Rows to distil and rows for evaluation: ``X, y, X_eval, y_eval``.

    With ``final`` the latter are the test rows, else 5,000 training rows, a tenth of small data
    sets. A smoke run has a few digits.
    """
    if smoke:
        data = load_smoke(name)
    elif name == "digits":
        images, labels = load_digits_images()
        X, X_eval, y, y_eval = train_test_split(images, labels, stratify=labels, random_state=0)
        data = {"X_train": X, "y_train": y, "X_test": X_eval, "y_test": y_eval}
    else:
        data = {"fashion_mnist": load_fashion_mnist, "cifar10_jpeg": load_cifar10}[name](path)
    X, y, X_eval, y_eval = (data[key] for key in ("X_train", "y_train", "X_test", "y_test"))
    if not final:
        X, X_eval, y, y_eval = train_test_split(
            X,
            y,
            stratify=y,
            test_size=min(_MOST_EVAL_ROWS, len(X) // _EVAL_SHARE),
            random_state=0,
        )
    return X, y, X_eval, y_eval


def load_table(name, path, final):
    """Rows and labels of a table in an ``.npz`` file: ``X, y, X_eval, y_eval``.

    With ``final`` the latter are the test rows, else a part of the training rows.
    """
    found = find(f"{name}.npz", path)
    if not found:
        raise SystemExit(f"{name}.npz was not found; give its path, or put it into data/.")
    with np.load(found) as data:
        X, y, X_test, y_test = (data[k] for k in ("X_train", "y_train", "X_test", "y_test"))
    if final:
        return X, y, X_test, y_test
    X, X_eval, y, y_eval = train_test_split(
        X, y, stratify=y, test_size=_TABLE_EVAL_SHARE, random_state=0
    )
    return X, y, X_eval, y_eval


# What makes a distillation cheap enough for a smoke run.
SMOKE_SETTINGS = {
    "architecture": ConvNet(depth=1, width=8),
    "n_networks": 2,
    "batch_size": 64,
    "max_iter": 2,
    "eval_every": 1,
    "random_state": 0,
}


def smoke_coreset(name):
    """A coreset of one item per class, of two steps on a few digits."""
    X, y, _, _ = load(name, smoke=True)
    return RFADDistiller(ipc=1, **SMOKE_SETTINGS).fit(X, y).coreset_


# Machine


def machine():
    """One line on where the figures come from."""
    bf16 = "fast" if has_fast_bfloat16(torch.device("cpu")) else "no fast"
    amx = " by AMX" if getattr(torch.cpu, "get_capabilities", dict)().get("amx_bf16") else ""
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, "
        f"{bf16} bfloat16{amx}{gpu}, torch {torch.__version__}, Python {platform.python_version()}"
    )


def peak_memory_gb():
    """Largest memory of this process so far, in GB (10^9 bytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


@contextlib.contextmanager
def one_thread():
    """Let torch compute on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
