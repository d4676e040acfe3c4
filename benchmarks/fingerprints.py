"""Hashes of small runs of everything: two trees that print the same lines compute the same bits.

Run it before and after a change that must not alter any number, on the same machine, and compare
the output with ``diff``::

    python benchmarks/fingerprints.py > before.txt
    python benchmarks/fingerprints.py --only kip   # the lines whose names contain "kip"

One line per fitted estimator: its name, a hash of the arrays of its coreset (items, targets,
labels, scale), and a hash of what it predicts or transforms. One thread, so that the number of
cores plays no role; yet ``OMP_NUM_THREADS`` must be the same in both runs, or unset in both: it
alone changes the bits of convolutions.
"""

import hashlib
import tempfile
import warnings
from pathlib import Path

import numpy as np
from _common import command_line, one_thread, parse
from sklearn.datasets import load_wine
from sklearn.preprocessing import PowerTransformer

from rfad_sklearn import (
    MLP,
    ConvNet,
    CoresetSelector,
    FiniteNetworkClassifier,
    GradientMatchingDistiller,
    InstanceNormalizer,
    KIPDistiller,
    NNGPKernelRidge,
    RFADDistiller,
)
from rfad_sklearn.datasets import load_digits_images
from rfad_sklearn.kernels import nngp_kernel, ntk_kernel

RUN = {"max_iter": 12, "eval_every": 4, "random_state": 0, "device": "cpu", "dtype": "float32"}
SMALL = {**RUN, "n_networks": 2, "batch_size": 128}
SMOKE = {"only": "kip rows"}


def data():
    """600 digits as images, and wine as flat rows."""
    X, y = load_digits_images()
    return {"images": (X[:600], y[:600]), "rows": load_wine(return_X_y=True)}


def rfad():
    """Random feature approximation."""
    return {
        "rfad rows": (RFADDistiller(ipc=3, **SMALL), "rows"),
        "rfad rows, transformer": (
            RFADDistiller(ipc=2, preprocessing=PowerTransformer(), **SMALL),
            "rows",
        ),
        "rfad images": (RFADDistiller(ipc=1, **SMALL), "images"),
        "rfad images, wide": (
            RFADDistiller(ipc=1, architecture=ConvNet(depth=2, width=24), **SMALL),
            "images",
        ),
        "rfad images, adam, mse": (
            RFADDistiller(ipc=2, solver="adam", loss="mse", **SMALL),
            "images",
        ),
        "rfad images, muon, kmeans": (
            RFADDistiller(ipc=2, solver="muon", init="kmeans", **SMALL),
            "images",
        ),
        "rfad images, no pool": (
            RFADDistiller(ipc=2, pool_size=1, **SMALL),
            "images",
        ),
        "rfad images, many items": (RFADDistiller(ipc=25, **{**SMALL, "max_iter": 4}), "images"),
    }


def rfad_options():
    """Its labels, soft labels, augmentation, corruption and arithmetic."""
    return {
        "rfad images, learned labels": (RFADDistiller(ipc=2, learn_labels=True, **SMALL), "images"),
        "rfad images, solved labels": (
            RFADDistiller(ipc=2, learn_labels="solve", early_stopping=True, **SMALL),
            "images",
        ),
        "rfad images, teacher": (
            RFADDistiller(ipc=1, teacher="network", early_stopping=True, **SMALL),
            "images",
        ),
        "rfad images, flips": (
            RFADDistiller(ipc=1, augment=["flip"], pool_size=1, **SMALL),
            "images",
        ),
        "rfad images, corruption": (RFADDistiller(ipc=2, corruption=0.5, **SMALL), "images"),
        "rfad images, zca, float64": (
            RFADDistiller(ipc=1, preprocessing="zca", **{**SMALL, "dtype": "float64"}),
            "images",
        ),
        "rfad images, bfloat16": (RFADDistiller(ipc=1, **{**SMALL, "dtype": "bfloat16"}), "images"),
        "rfad images, early stopping": (
            RFADDistiller(ipc=2, early_stopping=True, n_iter_no_change=1, tol=10.0, **SMALL),
            "images",
        ),
    }


def other_distillers():
    """KIP and gradient matching."""
    return {
        "kip rows, ntk": (KIPDistiller(ipc=2, **RUN), "rows"),
        "kip images, nngp": (
            KIPDistiller(
                ipc=1,
                kernel="nngp",
                loss="cross_entropy",
                architecture=ConvNet(depth=2),
                batch_size=32,
                **{**RUN, "max_iter": 4},
            ),
            "images",
        ),
        "gradient matching rows": (
            GradientMatchingDistiller(ipc=2, architecture=MLP(width=32), **RUN),
            "rows",
        ),
        "gradient matching images": (
            GradientMatchingDistiller(
                ipc=1,
                architecture=ConvNet(width=16),
                augment=["crop", "scale"],
                batch_size=32,
                **RUN,
            ),
            "images",
        ),
        "gradient matching images, trained networks": (
            GradientMatchingDistiller(
                ipc=1,
                architecture=ConvNet(width=16),
                network_life=4,
                network_steps=2,
                batch_size=32,
                **RUN,
            ),
            "images",
        ),
    }


def selectors():
    """Real rows."""
    return {
        "selector kmeans": (CoresetSelector(ipc=2, random_state=0), "images"),
        "selector herding, features": (
            CoresetSelector(
                ipc=2,
                strategy="herding",
                space="features",
                architecture=ConvNet(width=16),
                preprocessing=InstanceNormalizer(),
                random_state=0,
            ),
            "images",
        ),
        "selector kcenter rows": (
            CoresetSelector(ipc=2, strategy="kcenter", random_state=0),
            "rows",
        ),
    }


def distillers():
    """Name -> (distiller, kind of data)."""
    return rfad() | rfad_options() | other_distillers() | selectors()


def kernel_ridge():
    """Kernel ridge regression, on rows, on coresets and by a distiller."""
    return {
        "nngp rows, exact": (NNGPKernelRidge(random_state=0), "rows", False),
        "nngp rows, random features": (
            NNGPKernelRidge(kernel_method="random_features", random_state=0),
            "rows",
            False,
        ),
        "nngp images, random features": (
            NNGPKernelRidge(
                kernel_method="random_features", architecture=ConvNet(width=16), random_state=0
            ),
            "images",
            False,
        ),
        "nngp images, narrow": (
            NNGPKernelRidge(architecture=ConvNet(depth=2, width=8), n_networks=2, random_state=0),
            "images",
            False,
        ),
        "ntk coreset of images": (NNGPKernelRidge(kernel="ntk"), "images", True),
        "nngp coreset of images": (NNGPKernelRidge(), "images", True),
        "nngp coreset of images, random features": (
            NNGPKernelRidge(kernel_method="random_features", random_state=0),
            "images",
            True,
        ),
        "nngp coreset of rows": (NNGPKernelRidge(random_state=0), "rows", True),
        "nngp distiller": (
            NNGPKernelRidge(distiller=RFADDistiller(ipc=1, **SMALL), random_state=0),
            "rows",
            False,
        ),
    }


def finite_networks():
    """Trained networks."""
    network = {"max_iter": 30, "architecture": ConvNet(width=16), "random_state": 0}
    return {
        "network coreset of images": (FiniteNetworkClassifier(**network), "images", True),
        "network coreset of images, cross entropy": (
            FiniteNetworkClassifier(loss="cross_entropy", norm="instance", **network),
            "images",
            True,
        ),
        "network rows": (
            FiniteNetworkClassifier(
                **{**network, "architecture": MLP(depth=2, width=16)}, n_init=2
            ),
            "rows",
            False,
        ),
        "network images, augmented": (
            FiniteNetworkClassifier(augment=["crop"], batch_size=64, **network),
            "images",
            False,
        ),
    }


def classifiers():
    """Name -> (classifier, kind of data, whether it is fitted on a coreset)."""
    return kernel_ridge() | finite_networks()


def digest(*arrays):
    """The first 16 digits of a hash of the bytes of some arrays."""
    total = hashlib.sha256()
    for array in arrays:
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()[:16]


def of_coreset(coreset):
    """Hash of all that is fitted."""
    mask = np.empty(0) if coreset.corruption_mask is None else coreset.corruption_mask
    scale = np.float64(coreset.logit_scale)
    return digest(coreset.X, coreset.targets, coreset.y, scale, mask)


def resumed(distiller, X, y):
    """The same run, cut off and gone on with from its checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.npz"
        first = {**distiller.get_params(deep=False), "checkpoint": path}
        RFADDistiller(**{**first, "max_iter": 8}).fit(X, y)
        return RFADDistiller(**first).fit(X, y)


def lines():
    """Name of a run -> a function that gives its hashes, in the order of the output."""
    sets, fitted = data(), {}

    def distil(name, distiller, kind):
        fitted[name] = distiller.fit(*sets[kind])
        return of_coreset(distiller.coreset_), digest(distiller.transform(sets[kind][0][:50]))

    def classify(classifier, kind, on_coreset):
        X, y = sets[kind]
        if on_coreset:
            name = f"rfad {kind}"
            if name not in fitted:
                distil(name, *distillers()[name])
            classifier.fit_coreset(fitted[name].coreset_, X, y)
        else:
            classifier.fit(X, y)
        return (digest(classifier.predict_proba(X[:200])),)

    def resume():
        distiller = RFADDistiller(ipc=1, early_stopping=True, **SMALL)
        return (of_coreset(resumed(distiller, *sets["images"]).coreset_),)

    def kernel(function, spec):
        X, _ = sets["images"] if isinstance(spec, ConvNet) else sets["rows"]
        return (digest(function(X[:20], X[5:12], architecture=spec)),)

    out = {
        name: (lambda name=name, entry=entry: distil(name, *entry))
        for name, entry in distillers().items()
    }
    out["rfad images, resumed"] = resume
    out |= {name: (lambda entry=entry: classify(*entry)) for name, entry in classifiers().items()}
    out["kernel nngp of images"] = lambda: kernel(nngp_kernel, ConvNet(depth=2))
    out["kernel ntk of images"] = lambda: kernel(ntk_kernel, ConvNet(depth=3, readout="mean"))
    out["kernel ntk of rows"] = lambda: kernel(ntk_kernel, MLP(depth=3))
    return out


def main(arguments=None):
    """Print the lines."""
    parser = command_line(__doc__)
    parser.add_argument("--only", default="", help="only the lines whose names contain this")
    options = parse(parser, arguments, SMOKE)
    with one_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, run in lines().items():
            if options.only in name:
                print(f"{name:45s} {' '.join(run())}", flush=True)


if __name__ == "__main__":
    main()
