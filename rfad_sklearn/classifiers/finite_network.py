"""Classifier that trains a finite network on rows or on a coreset."""

from __future__ import annotations

from numbers import Integral, Real

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import _fit_context
from sklearn.utils._param_validation import Interval, StrOptions

from .._ridge.linalg import fit_logit_scale
from .._utils.blocks import padded_blocks
from .._utils.device import own_torch_modes, resolve_device, resolve_dtype
from .._utils.docstrings import substitute
from .._utils.labels import centred_one_hot, check_labels, refuse_soft_targets
from .._utils.network_spec import ConvNetSpec
from .._utils.row_selection import split_holdout
from .._utils.validation import RowSubset, check_rows, keep_state_on_error, resolve_image_shape
from ..architectures import resolve_architecture
from ..coreset import Coreset
from ..preprocessing import fit_preprocessing
from ._base import CoresetClassifier
from ._training import FiniteNetwork, train_networks
from ._training_config import (
    CROSS_ENTROPY_FLATNESS,
    DEFAULT_LABEL_SCALE,
    TrainingConfig,
    candidate_configs,
)

__all__ = ["FiniteNetworkClassifier"]

# Most held-out rows that are used.
_MAX_HELD_OUT = 1024
# Rows of a block in prediction: all blocks have the same shape, so that a row's scores do not
# depend on its neighbours.
_BLOCK = 64


@substitute
class FiniteNetworkClassifier(CoresetClassifier):
    """Classifier that trains a network of finite width.

    It does so by stochastic gradient descent with momentum; the step size decays linearly to zero.
    The network's outputs less those at initialisation (*centering*) are fitted to the targets times
    ``label_scale``: both bring a finite network nearer to the kernel that a coreset was distilled
    for ([1]_, appendix).

    Parameters
    ----------
    %(classifier_architecture)s
    %(classifier_image_shape)s
    %(classifier_categorical_features)s
    %(classifier_missing)s
    norm : {"auto", "instance"} or None, default=None
        Instance normalisation after each convolution, for coresets that were made with it. "auto":
        for a ConvNet whose smallest feature maps have at least 4x4 pixels.
    %(classifier_preprocessing)s
    loss : {"mse", "cross_entropy"}, default="mse"
        "mse": squared distance to ``label_scale`` times the centred targets. "cross_entropy": to
        the targets as probabilities.
    label_scale : float or "auto", default="auto"
        What the targets are multiplied with for "mse"; the larger, the farther the network moves
        from its start. "auto": chosen among 1, 4 and 16 by held-out rows, in whole runs; 4 without
        such rows. "cross_entropy" has none.
    centering : bool, default=True
        Take the outputs at initialisation away, in training and in prediction.
    learning_rate : float or "auto", default="auto"
        First step size. "auto": half of one over the largest curvature of the squared loss, which
        is measured at the start; divided by 4 where training diverges all the same. Twice that for
        "cross_entropy", or, where held-out rows are better predicted, the number of classes (at
        most 8) times that.
    weight_decay : float, default=0.0
        L2 penalty on the distance of the parameters to their initial values.
    batch_size : int, default=256
        Rows per step; all of a smaller coreset.
    max_iter : int, default=500
        Number of steps.
    n_init : int, default=1
        Networks that are trained; their scores are averaged.
    augment : bool, sequence of str or "auto", default=False
        Change the images at random in training: True for any of "color", "crop", "cutout", "flip",
        "rotate" and "scale", or the names of some. "auto": horizontal flips of the
        label-preserving classes, those that are still recognised when flipped, by a pilot sample
        of the rows (or items); none with fewer than 200 of them. ``plan_.flipped_classes`` has
        their numbers.
    early_stopping : bool, default=True
        In ``fit``: hold out rows that choose the label scale, the step to keep and the scale of the
        probabilities. ``fit_coreset`` uses the rows that it is given.
    validation_fraction : float, default=0.1
        Share of the rows to hold out, at most 1024 rows.
    eval_every : int, default=50
        Steps between evaluations on the held-out rows.
    %(classifier_verbose)s
    random_state : int, RandomState instance or None, default=None
        Seed of everything random.
    %(device)s
    dtype : {"auto", "float32", "float64", "bfloat16"}, default="auto"
        Arithmetic of the hidden layers in training; the parameters, and all that is predicted, are
        in float32 at least. "auto" is bfloat16 for a ConvNet where the hardware is fast at it, else
        float32.

    Attributes
    ----------
    %(classes_)s
    %(plan_)s
    label_scale_ : float
        The one that was used; 1 for "cross_entropy".
    n_iter_ : int
        Steps that each network was trained for; with held-out rows the state of the best evaluation
        among them is kept.
    validation_loss_ : float or None
        Mean cross entropy of the networks on held-out rows, each at its best scale.
    logit_scale_ : float
        ``softmax(logit_scale_ * scores)`` are the probabilities: fitted on held-out rows; else the
        coreset's for "mse", or 1.
    %(classifier_attributes)s

    See Also
    --------
    NNGPKernelRidge : Kernel ridge regression, which needs no training.
    GradientMatchingDistiller : Coresets for finite networks, by gradient matching.

    References
    ----------
    .. [1] N. Loo, R. Hasani, A. Amini and D. Rus, "Efficient Dataset Distillation using Random
       Feature Approximation", NeurIPS 2022.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from rfad_sklearn import FiniteNetworkClassifier, RFADDistiller
    >>> X, y = load_iris(return_X_y=True)
    >>> coreset = RFADDistiller(ipc=2, max_iter=50, random_state=0).fit(X, y).coreset_
    >>> clf = FiniteNetworkClassifier(max_iter=200, random_state=0).fit_coreset(coreset)
    >>> bool(clf.score(X, y) > 0.8)
    True
    """

    _parameter_constraints: dict = {
        **CoresetClassifier._parameter_constraints,
        "norm": [None, StrOptions({"auto", "instance"})],
        "loss": [StrOptions({"mse", "cross_entropy"})],
        "label_scale": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "centering": ["boolean"],
        "learning_rate": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "augment": [StrOptions({"auto"}), "boolean", "array-like"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "eval_every": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        *,
        architecture="auto",
        image_shape=None,
        categorical_features="from_dtype",
        missing="error",
        norm=None,
        preprocessing="auto",
        loss="mse",
        label_scale="auto",
        centering=True,
        learning_rate="auto",
        weight_decay=0.0,
        batch_size=256,
        max_iter=500,
        n_init=1,
        augment=False,
        early_stopping=True,
        validation_fraction=0.1,
        eval_every=50,
        verbose=0,
        random_state=None,
        device="auto",
        dtype="auto",
    ):
        self.architecture = architecture
        self.image_shape = image_shape
        self.categorical_features = categorical_features
        self.missing = missing
        self.norm = norm
        self.preprocessing = preprocessing
        self.loss = loss
        self.label_scale = label_scale
        self.centering = centering
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.n_init = n_init
        self.augment = augment
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.eval_every = eval_every
        self.verbose = verbose
        self.random_state = random_state
        self.device = device
        self.dtype = dtype

    @keep_state_on_error
    @_fit_context(prefer_skip_nested_validation=False)
    @own_torch_modes()
    def fit(self, X: ArrayLike, y: ArrayLike) -> FiniteNetworkClassifier:
        """Train on rows.

        Parameters
        ----------
        X : array of shape (n, d), (n, H, W) or (n, H, W, channels), or data frame
        y : array of shape (n,)
            Labels.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For 2-d y: learned (soft) targets come in with :meth:`fit_coreset`.
        FloatingPointError
            When the training diverges.
        """
        rows, seen, y = check_rows(self, X, reset=True, y=refuse_soft_targets(y))
        classes, y_encoded = check_labels(y)
        self.__dict__.pop("coreset_", None)
        image_shape = resolve_image_shape(self.image_shape, seen, rows.shape[1])
        spec = resolve_architecture(self.architecture, image_shape or (rows.shape[1],))
        seed = self._draw_seed()
        rng = np.random.default_rng(seed)
        chosen, others = np.arange(len(rows)), np.empty(0, dtype=int)
        if self.early_stopping:
            ones = np.ones(len(classes), dtype=int)
            chosen, others = split_holdout(
                y_encoded, self.validation_fraction, ones, rng, _MAX_HELD_OUT
            )
        preprocessing = fit_preprocessing(
            self.preprocessing, rows[chosen], image_shape, invertible=False, columns=self._columns
        )
        self._make_plan(
            spec,
            image_shape,
            preprocessing,
            RowSubset(rows, chosen),
            y_encoded[chosen],
            classes,
            self._hidden_dtype(spec),
            n_held_out=len(others),
            seed=seed,
        )
        targets = centred_one_hot(torch.from_numpy(y_encoded.astype(np.int64)), len(classes))
        return self._train(rows[chosen], targets[chosen], rows[others], y_encoded[others], 1.0, rng)

    @keep_state_on_error
    @_fit_context(prefer_skip_nested_validation=False)
    @own_torch_modes()
    def fit_coreset(
        self, coreset: Coreset, X: ArrayLike | None = None, y: ArrayLike | None = None
    ) -> FiniteNetworkClassifier:
        """Train on a coreset, with its (perhaps learned) targets.

        Parameters
        ----------
        coreset : Coreset
        X, y : arrays, default=None
            Real rows and labels, at most 1024 of which choose the label scale, the step to keep and
            the scale of the probabilities.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            When an explicit architecture, image shape or preprocessing contradicts the coreset's.
        FloatingPointError
            When the training diverges.
        """
        spec, rows, y_encoded = self._start_from_coreset(coreset, X, y)
        self.coreset_ = coreset
        seed = self._draw_seed()
        rng = np.random.default_rng(seed)
        items, classes = np.searchsorted(coreset.classes, coreset.y), coreset.classes.copy()
        self._make_plan(
            spec,
            coreset.image_shape,
            coreset.preprocessing,
            coreset.rows,
            items,
            classes,
            self._hidden_dtype(spec),
            of_coreset=True,
            n_held_out=0 if rows is None else min(len(rows), _MAX_HELD_OUT),
            seed=seed,
        )
        if rows is None:
            rows, y_encoded = coreset.rows[:0], np.empty(0, dtype=int)
        elif len(rows) > _MAX_HELD_OUT:
            chosen = np.sort(rng.choice(len(rows), _MAX_HELD_OUT, replace=False))
            rows, y_encoded = rows[chosen], y_encoded[chosen]
        return self._train(
            coreset.rows, torch.tensor(coreset.targets), rows, y_encoded, coreset.logit_scale, rng
        )

    def _hidden_dtype(self, spec):
        """Type of the hidden layers' arithmetic in training."""
        reduced = isinstance(spec, ConvNetSpec)
        return resolve_dtype(self.dtype, resolve_device(self.device), reduced=reduced)

    def _config(self):
        """Settings without held-out rows."""
        cross_entropy = self.loss == "cross_entropy"
        if cross_entropy and self.label_scale != "auto":
            raise ValueError(
                f"label_scale={self.label_scale!r} belongs to loss='mse'; leave it at 'auto' with "
                "loss='cross_entropy'."
            )
        label_scale = 1.0 if cross_entropy else DEFAULT_LABEL_SCALE
        flipped = self.plan_.flipped_classes
        return TrainingConfig(
            instance_norm=self.plan_.instance_norm,
            centering=self.centering,
            loss=self.loss,
            label_scale=label_scale if self.label_scale == "auto" else float(self.label_scale),
            learning_rate=None if self.learning_rate == "auto" else float(self.learning_rate),
            weight_decay=self.weight_decay,
            batch_size=self.batch_size,
            n_steps=self.max_iter,
            eval_every=self.eval_every,
            augmentations=self.plan_.augmentations,
            flipped=() if len(flipped) == len(self.classes_) else flipped,
            flatness=CROSS_ENTROPY_FLATNESS if cross_entropy else 1.0,
            dtype=self._hidden_dtype(self.architecture_),
        )

    def _train(self, rows, targets, other_rows, other_y_encoded, logit_scale, rng):
        """Train the networks; the other rows, if any, are held out."""
        inputs = self._inputs(rows)
        configs, held_out = [self._config()], None
        if len(other_rows):
            labels = torch.from_numpy(other_y_encoded.astype(np.int64)).to(inputs.device)
            held_out = self._inputs(other_rows), labels
            configs = candidate_configs(
                configs[0], len(self.classes_), label_scale_is_open=self.label_scale == "auto"
            )
        seeds = rng.integers(2**31, size=self.n_init).tolist()
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        config, networks, losses = train_networks(
            self.architecture_,
            inputs,
            targets.to(inputs),
            configs,
            seeds=seeds,
            generator=generator,
            held_out=held_out,
            report=self._say,
        )
        if np.inf in losses:
            raise FloatingPointError(
                f"Training diverged with learning_rate={self.learning_rate!r} and "
                f"label_scale={config.label_scale:g}; lower them, or use learning_rate='auto'."
            )
        self.label_scale_, self.n_iter_ = config.label_scale, config.n_steps
        self.validation_loss_ = float(np.mean(losses)) if held_out is not None else None
        self._networks = [network.to_arrays() for network in networks]
        self.logit_scale_ = logit_scale if self.loss == "mse" else 1.0
        if held_out is not None:
            scores = torch.from_numpy(self._scores(other_rows))
            self.logit_scale_ = fit_logit_scale(scores, held_out[1].cpu())
        return self

    def _inputs(self, rows):
        device, dtype = self._arithmetic
        return self._preprocessed(rows, dtype=dtype, device=device)

    def _scores(self, rows):
        """Mean outputs of the networks, in units of the targets."""
        like, instance_norm = self._inputs(rows[:1]), self.plan_.instance_norm
        networks = [
            FiniteNetwork.from_arrays(self.architecture_, instance_norm, arrays, like)
            for arrays in self._networks
        ]
        scores = np.empty((len(rows), len(self.classes_)))

        def read(start, stop):
            return self._inputs(rows[start:stop])

        for block, x in padded_blocks(read, len(rows), _BLOCK):
            outputs = sum(network.scores_of_many(x).double() for network in networks)
            scores[block] = outputs.cpu().numpy()[: block.stop - block.start]
        return scores / (len(networks) * self.label_scale_)
