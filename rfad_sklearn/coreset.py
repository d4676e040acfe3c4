"""The coreset: a small immutable value with its own file format."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ._utils.columns import Columns
from ._utils.coreset_checks import n_inputs, problems_of
from ._utils.coreset_file import read_coreset, write_coreset
from ._utils.frames import coreset_frame
from ._utils.html import coreset_html
from ._utils.labels import label_array
from ._utils.network_spec import ConvNetSpec, MLPSpec
from ._utils.preprocessing_value import (
    Preprocessing,
    ReadOnlyArrays,
    TransformerPreprocessing,
)
from .architectures import MLP, ConvNet

if TYPE_CHECKING:
    from pandas import DataFrame
    from torch.utils.data import TensorDataset

__all__ = ["Coreset"]


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
        What classifiers regress on: centred one-hot rows (``onehot - 1 / n_classes``), or learned
        ones.
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
        Network it was distilled for. The attribute is a frozen value with the same fields, in which
        open ones (None) are filled in as ``fit`` does.
    preprocessing : Preprocessing or None
        The map from ``X`` to the network's input; None where there is none.
        ``preprocessing.apply(rows)`` and ``preprocessing.invert(Z)`` work on rows.
    feature_names : tuple of str or None
        Column names of the data frame it came from.
    corruption_mask : bool array of shape (n_items, n_features) or None
        Entries of ``X`` that are noise and were never optimised
        (``RFADDistiller(corruption=...)``).
    solved_targets : array of shape (n_items, n_classes) or None
        What :class:`NNGPKernelRidge` regresses on in place of ``targets``: the best for these
        items, which items for any model have for it beside their labels.
    sample_weight : array of shape (n_items,), default=None
        How many rows each item stands for, in units of their mean: the share of its class among the
        rows over that among the items. ``model.fit(X, y, sample_weight=sample_weight)`` gives
        probabilities of the rows' class shares where items are real rows, or were made with
        ``class_weight="balanced"``; others may have these shares in them. None: ones.
    columns : Columns or None
        What the columns of a table are. Where some are categories ``X`` holds their numbers in
        ``columns.categories[k]``, and one more for gaps; :meth:`to_frame` gives the words.
    provenance : dict
        How it was made, in JSON values: library version, method, settings, plan, seed, steps,
        validation score.

    Attributes
    ----------
    images : array of shape (n_items, H, W) or (n_items, H, W, channels), or None
        ``X`` as images; grey images have no channel axis.
    n_items, n_classes : int
    ridge_targets : array of shape (n_items, n_classes)
        ``solved_targets``, or else ``targets``.

    Raises
    ------
    ValueError
        When shapes disagree or numbers are not finite; the message names the field.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from rfad_sklearn import RFADDistiller
    >>> X, y = load_iris(return_X_y=True)
    >>> coreset = RFADDistiller(ipc=1, max_iter=5, random_state=0).fit(X, y).coreset_
    >>> coreset
    Coreset(3 items, 3 classes, 4 columns)
    >>> coreset.X.shape, coreset.targets.shape, coreset.y.tolist()
    ((3, 4), (3, 3), [0, 1, 2])
    """

    X: np.ndarray
    targets: np.ndarray
    classes: np.ndarray
    y: np.ndarray
    architecture: ConvNet | MLP | ConvNetSpec | MLPSpec
    preprocessing: Preprocessing | TransformerPreprocessing
    image_shape: tuple[int, int, int] | None = None
    logit_scale: float = 1.0
    reg: float = 5e-3
    kernel: str = "nngp"
    feature_names: tuple[str, ...] | None = None
    provenance: dict = field(default_factory=dict)
    corruption_mask: np.ndarray | None = None
    solved_targets: np.ndarray | None = None
    sample_weight: np.ndarray | None = None
    columns: Columns | None = None

    def __post_init__(self):
        def put(name, value):
            object.__setattr__(self, name, value)

        for name in ("X", "targets"):
            put(name, _readonly(getattr(self, name)))
        for name in ("classes", "y"):
            put(name, _readonly(label_array(getattr(self, name))))
        if self.sample_weight is None:
            put("sample_weight", np.ones(len(self.X) if self.X.ndim else 0))
        for name in ("corruption_mask", "solved_targets", "sample_weight"):
            if getattr(self, name) is not None:
                put(name, _readonly(getattr(self, name)))
        put("logit_scale", float(self.logit_scale))
        put("reg", float(self.reg))
        if self.image_shape is not None:
            put("image_shape", tuple(int(side) for side in self.image_shape))
        if self.feature_names is not None:
            put("feature_names", tuple(str(name) for name in self.feature_names))
        if isinstance(self.architecture, ConvNet | MLP):
            shape = self.image_shape or (n_inputs(self),)
            put("architecture", self.architecture._resolve(shape))
        if self.preprocessing is None and self.X.ndim == 2:
            put("preprocessing", Preprocessing.identity(n_inputs(self)))
        self._check()

    def _check(self):
        problems = list(problems_of(self))
        if problems:
            raise ValueError("Coreset: " + "; ".join(problems) + ".")

    @property
    def ridge_targets(self) -> np.ndarray:
        """What kernel ridge regression regresses on: ``solved_targets``, or else ``targets``."""
        return self.targets if self.solved_targets is None else self.solved_targets

    @property
    def rows(self) -> np.ndarray:
        """``X`` as ``preprocessing`` takes it: with a column of zeros and ones for each category.

        Array of shape (n_items, n_inputs); ``X`` itself where no column is of categories.
        """
        if self.columns is None or not self.columns.encodes:
            return self.X
        return self.columns.expand(self.X)

    @property
    def n_items(self) -> int:
        """Number of items."""
        return len(self.X)

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @property
    def images(self) -> np.ndarray | None:
        """``X`` as images, without a channel axis when grey; None for tables."""
        if self.image_shape is None:
            return None
        sides = self.image_shape[:2] if self.image_shape[2] == 1 else self.image_shape
        return self.X.reshape(-1, *sides)

    @property
    def inputs(self) -> np.ndarray:
        """Preprocessed items as the network takes them.

        Array of shape (n, d) for rows, (n, H, W, channels) for images.
        """
        inputs = self.preprocessing.apply(self.rows)
        return inputs.reshape(self.n_items, *(self.image_shape or (-1,)))

    def __len__(self) -> int:
        return self.n_items

    def __repr__(self) -> str:
        what = f"{self.X.shape[1]} columns"
        if self.image_shape is not None:
            what = "x".join(map(str, self.image_shape)) + " images"
        return f"Coreset({self.n_items} items, {self.n_classes} classes, {what})"

    def _repr_html_(self) -> str:
        """Thumbnails of the first images of each class, or the first items of a table."""
        return coreset_html(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Coreset):
            return NotImplemented
        return all(_same(getattr(self, f.name), getattr(other, f.name)) for f in fields(self))

    __hash__ = None  # type: ignore[assignment]

    def to_frame(self) -> DataFrame:
        """The items as a ``pandas.DataFrame``, in the types of the frame they came from.

        Returns
        -------
        pandas.DataFrame of shape (n_items, n_features)
            Without the labels, which are ``y``. Columns of integers are rounded, those of
            categories hold words. A column that was of type "category" has those that were seen.

        Raises
        ------
        ImportError
            Without pandas.
        ValueError
            For images.
        """
        if self.image_shape is not None:
            raise ValueError(
                "to_frame is for tables, but the items are images; see coreset.images."
            )
        return coreset_frame(self.X, self.columns, self.feature_names)

    def to_torch(self, *, preprocess: bool = False) -> TensorDataset:
        """The coreset as a ``torch.utils.data.TensorDataset`` of float32 items and targets.

        Parameters
        ----------
        preprocess : bool, default=False
            Give the network's input instead of raw units.

        Returns
        -------
        TensorDataset of (items, targets)
            Images are channels first, ``(n, channels, H, W)``, as torch layers take them. Columns
            of categories are columns of zeros and ones, as in ``rows``.
        """
        import torch

        X = self.preprocessing.apply(self.rows) if preprocess else self.rows
        items = torch.tensor(X, dtype=torch.float32)
        if self.image_shape is not None:
            items = items.reshape(-1, *self.image_shape).permute(0, 3, 1, 2).contiguous()
        return torch.utils.data.TensorDataset(
            items, torch.tensor(self.targets, dtype=torch.float32)
        )

    def save(self, path: str | PathLike) -> Path:
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
                f"preprocessing={type(self.preprocessing.transformer).__name__} cannot be saved as "
                "plain arrays. Put the transformer in front of the distiller with "
                "sklearn.pipeline.Pipeline, distil with preprocessing=None, and save both."
            )
        return write_coreset(path, self)

    @classmethod
    def load(cls, path: str | PathLike) -> Coreset:
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
        return read_coreset(path, cls)
