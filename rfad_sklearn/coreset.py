"""The coreset: a small immutable value with its own file format."""

import json
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np

from ._utils.files import read_arrays, write_arrays
from ._utils.labels import label_array
from ._utils.network_spec import ConvNetSpec, MLPSpec, spec_from_dict, spec_to_dict
from ._utils.preprocessing_value import Preprocessing, ReadOnlyArrays
from .architectures import MLP, ConvNet

__all__ = ["Coreset"]

FORMAT_VERSION = 1

_PREPROCESSING_ARRAYS = tuple(f.name for f in fields(Preprocessing))
_REQUIRED = (
    (
        "format_version",
        "X",
        "targets",
        "classes",
        "y",
        "image_shape",
        "logit_scale",
        "reg",
        "kernel",
        "architecture",
    )
    + ("feature_names", "provenance")
    + tuple(f"preprocessing_{name}" for name in _PREPROCESSING_ARRAYS)
)
_OPTIONAL = ("corruption_mask",)


def _same(mine, theirs):
    if isinstance(mine, np.ndarray) and isinstance(theirs, np.ndarray):
        return mine.dtype == theirs.dtype and np.array_equal(mine, theirs)
    return mine is theirs or (type(mine) is type(theirs) and mine == theirs)


def _readonly(array):
    array = np.array(array)
    array.setflags(write=False)
    return array


@dataclass(frozen=True, eq=False, repr=False)
class Coreset(ReadOnlyArrays):
    """A few synthetic rows that stand for a data set, with all that is needed to use them.

    Parameters
    ----------
    X : array of shape (n_items, n_features)
        The items, **in the units of the data they were distilled from**: plot them, or give them to
        any other model, as they are. Of images larger than digits other models may learn more from
        items that were not whitened (``preprocessing="standardize", solver="adam"`` of
        :class:`RFADDistiller`).
    targets : array of shape (n_items, n_classes)
        What kernel ridge regression regresses on: centred one-hot rows (``onehot - 1 /
        n_classes``), or learned ones.
    classes : array of shape (n_classes,)
        Class labels, sorted; the columns of ``targets``.
    y : array of shape (n_items,)
        Label of the class each item was started for.
    image_shape : tuple (H, W, channels) or None
        Shape of one item when the rows are images.
    logit_scale : float, default=1.0
        ``softmax(logit_scale * scores)`` are the class probabilities.
    reg : float, default=5e-3
        Ridge, relative to the mean diagonal of the kernel matrix.
    kernel : {"nngp", "ntk"}, default="nngp"
        Kernel it was distilled for.
    architecture : ConvNet or MLP
        Network it was distilled for.
    preprocessing : Preprocessing or None
        What takes ``X`` to the network's input; None where nothing does. ``preprocessing.apply(X)``
        and ``preprocessing.invert(Z)`` work on rows.
    feature_names : tuple of str or None
        Column names of the data frame it came from.
    corruption_mask : bool array of shape (n_items, n_features) or None
        Entries of ``X`` that are noise and were never optimised
        (``RFADDistiller(corruption=...)``).
    provenance : dict
        How it was made: library version, method, settings, seed, steps, validation score.

    Attributes
    ----------
    images : array of shape (n_items, H, W) or (n_items, H, W, channels), or None
        ``X`` as images; grey images have no channel axis.
    n_items, n_classes : int

    Raises
    ------
    ValueError
        When shapes disagree or numbers are not finite; the message names the field.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from rfad_sklearn import RFADDistiller
    >>> coreset = RFADDistiller(ipc=1, max_iter=5, random_state=0).fit(*load_iris(return_X_y=True)).coreset_
    >>> coreset.X.shape, coreset.targets.shape, coreset.y.tolist()
    ((3, 4), (3, 3), [0, 1, 2])
    """

    X: np.ndarray
    targets: np.ndarray
    classes: np.ndarray
    y: np.ndarray
    architecture: object
    preprocessing: object
    image_shape: tuple | None = None
    logit_scale: float = 1.0
    reg: float = 5e-3
    kernel: str = "nngp"
    feature_names: tuple | None = None
    provenance: dict = field(default_factory=dict)
    corruption_mask: np.ndarray | None = None

    def __post_init__(self):
        put = lambda name, value: object.__setattr__(self, name, value)  # noqa: E731
        for name in ("X", "targets"):
            put(name, _readonly(getattr(self, name)))
        for name in ("classes", "y"):
            put(name, _readonly(label_array(getattr(self, name))))
        if self.corruption_mask is not None:
            put("corruption_mask", _readonly(self.corruption_mask))
        put("logit_scale", float(self.logit_scale))
        put("reg", float(self.reg))
        if self.image_shape is not None:
            put("image_shape", tuple(int(side) for side in self.image_shape))
        if self.feature_names is not None:
            put("feature_names", tuple(str(name) for name in self.feature_names))
        if isinstance(self.architecture, ConvNet | MLP):
            put("architecture", self.architecture._resolve(self.image_shape or self.X.shape[1:]))
        if self.preprocessing is None and self.X.ndim == 2:
            put("preprocessing", Preprocessing.identity(self.X.shape[1]))
        self._check()

    def _check(self):
        problems = []
        if self.X.ndim != 2 or not len(self.X):
            problems.append(
                f"X must be of shape (n_items, n_features) with at least one item, got {self.X.shape}"
            )
        n, d = self.X.shape if self.X.ndim == 2 else (len(self.X), -1)
        n_classes = len(self.classes) if self.classes.ndim == 1 else -1
        if n_classes < 2 or not np.array_equal(np.unique(self.classes), self.classes):
            problems.append(
                f"classes must hold two or more distinct labels, sorted, in one dimension, got {self.classes!r}"
            )
        if self.targets.shape != (n, n_classes):
            problems.append(f"targets must be of shape {(n, n_classes)}, got {self.targets.shape}")
        if self.y.shape != (n,):
            problems.append(f"y must be of shape {(n,)}, got {self.y.shape}")
        elif not np.isin(self.y, self.classes).all():
            problems.append("y holds labels that are not in classes")
        for name in ("X", "targets"):
            array = getattr(self, name)
            if array.dtype.kind not in "biuf" or (name == "targets" and array.dtype.kind != "f"):
                problems.append(f"{name} must hold real numbers, got dtype {array.dtype}")
            elif not np.isfinite(array).all():
                problems.append(f"{name} holds NaN or infinity")
        mask = self.corruption_mask
        if mask is not None and (mask.dtype != bool or mask.shape != self.X.shape):
            problems.append(
                f"corruption_mask must be of type bool and shape {self.X.shape}, got {mask.dtype} and {mask.shape}"
            )
        if not (np.isfinite(self.logit_scale) and self.logit_scale > 0):
            problems.append(f"logit_scale must be positive and finite, got {self.logit_scale!r}")
        if not (np.isfinite(self.reg) and self.reg >= 0):
            problems.append(f"reg must be finite and at least 0, got {self.reg!r}")
        if self.kernel not in ("nngp", "ntk"):
            problems.append(f"kernel must be 'nngp' or 'ntk', got {self.kernel!r}")
        if self.image_shape is not None and (
            len(self.image_shape) != 3 or np.prod(self.image_shape) != d
        ):
            problems.append(
                f"image_shape must be (H, W, channels) with product {d}, got {self.image_shape}"
            )
        elif isinstance(self.architecture, ConvNetSpec) and self.image_shape is None:
            problems.append("image_shape is needed by a ConvNet")
        elif not isinstance(self.architecture, ConvNetSpec | MLPSpec):
            problems.append(f"architecture must be a ConvNet or an MLP, got {self.architecture!r}")
        elif not self.architecture.fits(self.image_shape or (d,)):
            problems.append(
                f"architecture={self.architecture} cannot take inputs of shape {self.image_shape or (d,)}"
            )
        if self.X.ndim == 2 and not hasattr(self.preprocessing, "n_features"):
            problems.append(
                f"preprocessing must be a Preprocessing or None, got {self.preprocessing!r}"
            )
        elif self.X.ndim == 2 and self.preprocessing.n_features != d:
            problems.append(
                f"preprocessing takes {self.preprocessing.n_features} columns, X has {d}"
            )
        if self.feature_names is not None and len(self.feature_names) != d:
            problems.append(f"feature_names must hold {d} names, got {len(self.feature_names)}")
        if not isinstance(self.provenance, dict):
            problems.append(f"provenance must be a dict, got {self.provenance!r}")
        if problems:
            raise ValueError("Coreset: " + "; ".join(problems) + ".")

    @property
    def n_items(self):
        """Number of items."""
        return len(self.X)

    @property
    def n_classes(self):
        """Number of classes."""
        return len(self.classes)

    @property
    def images(self):
        """``X`` as images, without a channel axis when grey; None for tables."""
        if self.image_shape is None:
            return None
        height, width, channels = self.image_shape
        return (
            self.X.reshape(-1, height, width)
            if channels == 1
            else self.X.reshape(-1, height, width, channels)
        )

    @property
    def inputs(self):
        """Preprocessed items as the network takes them: ``(n, d)`` rows or ``(n, H, W, channels)`` images."""
        return self.preprocessing.apply(self.X).reshape(self.n_items, *(self.image_shape or (-1,)))

    def __len__(self):
        return self.n_items

    def __repr__(self):
        shape = (
            "x".join(map(str, self.image_shape)) + " images"
            if self.image_shape
            else f"rows of {self.X.shape[1]} columns"
        )
        parts = [f"{self.n_items} {shape}", f"{self.n_classes} classes", f"{self.architecture}"]
        if "n_iter" in self.provenance:
            parts.append(f"{self.provenance['n_iter']} steps")
        if isinstance(self.provenance.get("validation_score"), float):
            parts.append(f"validation accuracy {self.provenance['validation_score']:.3f}")
        return f"<Coreset: {', '.join(parts)}>"

    def __eq__(self, other):
        if not isinstance(other, Coreset):
            return NotImplemented
        return all(_same(getattr(self, f.name), getattr(other, f.name)) for f in fields(self))

    __hash__ = None

    def to_torch(self, *, preprocess=False):
        """The coreset as a ``torch.utils.data.TensorDataset`` of float32 items and targets.

        Parameters
        ----------
        preprocess : bool, default=False
            Give the network's input instead of raw units.

        Returns
        -------
        TensorDataset of (items, targets)
            Images are channels first, ``(n, channels, H, W)``, as torch layers take them.
        """
        import torch

        X = self.preprocessing.apply(self.X) if preprocess else self.X
        items = torch.tensor(X, dtype=torch.float32)
        if self.image_shape is not None:
            items = items.reshape(-1, *self.image_shape).permute(0, 3, 1, 2).contiguous()
        return torch.utils.data.TensorDataset(
            items, torch.tensor(self.targets, dtype=torch.float32)
        )

    def save(self, path):
        """Write the coreset to a ``.npz`` file of plain arrays, whole or not at all.

        The array names are the attribute names; the parts of ``preprocessing`` are prefixed by
        ``preprocessing_``. Nothing in it is pickled: ``numpy.load(path)`` reads it.

        Parameters
        ----------
        path : str or path-like
            Taken as it is; no suffix is added.

        Returns
        -------
        pathlib.Path

        Raises
        ------
        ValueError
            When the preprocessing is a user's own transformer, which no plain array can hold.
        """
        if not isinstance(self.preprocessing, Preprocessing):
            raise ValueError(
                f"preprocessing={type(self.preprocessing.transformer).__name__} cannot be saved as plain arrays. Put the transformer in "
                "front of the distiller with sklearn.pipeline.Pipeline, distil with preprocessing=None, and save both."
            )
        return write_arrays(path, self._arrays())

    def _arrays(self):
        arrays = {
            "format_version": np.int64(FORMAT_VERSION),
            "X": self.X,
            "targets": self.targets,
            "classes": self.classes,
            "y": self.y,
            "image_shape": np.array(self.image_shape or (), dtype=np.int64),
            "logit_scale": np.float64(self.logit_scale),
            "reg": np.float64(self.reg),
            "kernel": np.str_(self.kernel),
            "architecture": np.str_(json.dumps(spec_to_dict(self.architecture))),
            "feature_names": np.array(self.feature_names or (), dtype=str),
            "provenance": np.str_(json.dumps(self.provenance, sort_keys=True)),
        }
        if self.corruption_mask is not None:
            arrays["corruption_mask"] = self.corruption_mask
        arrays.update(
            {
                f"preprocessing_{name}": getattr(self.preprocessing, name)
                for name in _PREPROCESSING_ARRAYS
            }
        )
        return arrays

    @classmethod
    def load(cls, path):
        """Read a coreset written by :meth:`save`. Pickles are never loaded.

        Parameters
        ----------
        path : str or path-like

        Returns
        -------
        Coreset

        Raises
        ------
        FileNotFoundError
            When there is no such file.
        ValueError
            When the file is damaged, incomplete, of another version or not a coreset; the message
            says which.
        """
        path = Path(path)
        try:
            arrays = read_arrays(path, _REQUIRED, _OPTIONAL)
            version = arrays["format_version"]
            if version.shape != () or version.dtype.kind not in "iu" or version != FORMAT_VERSION:
                raise ValueError(
                    f"it has format_version {version.tolist()!r}, this library reads {FORMAT_VERSION}; update rfad_sklearn, or save it again"
                )
            return cls._from_arrays(arrays)
        except OSError as error:
            if path.is_file():
                raise ValueError(f"{path} is not a readable coreset file: {error}.") from error
            raise
        except Exception as error:  # whatever a damaged archive makes numpy, zipfile and json raise
            raise ValueError(
                f"{path} is not a readable coreset file: {str(error).rstrip('.')}. Save the coreset again."
            ) from error

    @classmethod
    def _from_arrays(cls, arrays):
        preprocessing = {name: arrays[f"preprocessing_{name}"] for name in _PREPROCESSING_ARRAYS}
        preprocessing["row_norm"], preprocessing["tail"] = (
            bool(preprocessing["row_norm"]),
            float(preprocessing["tail"]),
        )
        return cls(
            X=arrays["X"],
            targets=arrays["targets"],
            classes=arrays["classes"],
            y=arrays["y"],
            architecture=spec_from_dict(json.loads(str(arrays["architecture"]))),
            preprocessing=Preprocessing(**preprocessing),
            image_shape=tuple(arrays["image_shape"].tolist()) or None,
            logit_scale=float(arrays["logit_scale"]),
            reg=float(arrays["reg"]),
            kernel=str(arrays["kernel"]),
            feature_names=tuple(arrays["feature_names"].tolist()) or None,
            provenance=json.loads(str(arrays["provenance"])),
            corruption_mask=arrays.get("corruption_mask"),
        )
