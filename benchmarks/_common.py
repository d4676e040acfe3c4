"""Data and machine for the benchmarks."""

import io
import os
import platform
import resource
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch


def find(name, path=None):
    """A data file: the given one, else ``data/<name>`` here, else in a ``data`` folder of a neighbour of this checkout."""
    root = Path(__file__).resolve().parents[1]
    candidates = (
        [Path(path)]
        if path
        else [Path("data") / name, root / "data" / name, *root.parent.glob(f"*/data/{name}")]
    )
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    return None


def load_fashion_mnist(path=None):
    """Fashion-MNIST as a dict of X_train (60000, 28, 28), y_train, X_test, y_test; downloaded from OpenML when no file is found."""
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


def machine():
    """One line on where the figures come from."""
    from rfad_sklearn._utils.device import has_fast_bfloat16

    bf16 = "fast" if has_fast_bfloat16(torch.device("cpu")) else "no fast"
    amx = " by AMX" if getattr(torch.cpu, "get_capabilities", dict)().get("amx_bf16") else ""
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, {bf16} bfloat16{amx}{gpu}, "
        f"torch {torch.__version__}, Python {platform.python_version()}"
    )


def peak_memory_gb():
    """Largest resident memory of this process so far, in GB (10^9 bytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
