"""Base class of everything that makes a coreset: ``fit`` around the making, and its uses."""

import json
import time
from numbers import Integral, Real
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from .._kernels.exact import exact_kernel
from .._networks.random_features import cached_features, cpu_networks, kernel_product
from .._optimization.scoring import scoring_name
from .._planning.kernel_method import select_kernel_method
from .._planning.memory import N_EVALUATION_NETWORKS
from .._ridge.linalg import landmark_features
from .._ridge.models import ExactModel, FeatureModel, exact_inputs, feature_weights
from .._utils.device import own_torch_modes, resolve_device, resolve_dtype
from .._utils.docstrings import substitute
from .._utils.labels import plain_label
from .._utils.validation import check_rows, float_dtype, keep_state_on_error
from .._version import __version__
from ..architectures import ARCHITECTURES
from ..coreset import Coreset
from ._prepare import depth_is_open, prepare
from ._sampler import CoresetSampler, like_input

# The class of whatever is fitted.
_Estimator = TypeVar("_Estimator", bound="CoresetEstimator")
# Entries of an array that stands among the settings.
_FEW_ENTRIES = 32
# Parameters that do not belong to what a coreset is.
_NOT_SETTINGS = ("callback", "verbose", "checkpoint")


class CoresetEstimator(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Base class of distillers and selectors.

    A subclass provides ``_make(context, begin)``, which sets ``coreset_`` and what else ``fit``
    promises, and ``_kernel`` where it is not the NNGP.
    """

    _kernel = "nngp"
    # Whether a sampler has said that the rows of some classes stay as they are.
    _keeps_rows = False
    # How the kernel of ``transform`` is computed.
    _transform_method = "auto"
    # Whether items come from network inputs, for which the preprocessing must have an inverse.
    _inverts = True
    # Held-out rows at most.
    _max_held_out = 2048
    # Whether a ConvNet's arithmetic may be bfloat16 where the hardware is fast at it.
    _reduces_precision = True
    # Whether rows decide between three blocks and two where the depth is open.
    _selects_depth = False

    _parameter_constraints: dict = {
        "ipc": [Interval(Integral, 1, None, closed="left"), dict],
        "n_items": [Interval(Integral, 2, None, closed="left"), None],
        "architecture": [StrOptions({"auto"}), *ARCHITECTURES],
        "image_shape": [None, "array-like"],
        "categorical_features": ["array-like", StrOptions({"from_dtype"}), None],
        "missing": [StrOptions({"error", "impute"})],
        "reg": [Interval(Real, 0, None, closed="neither")],
        "preprocessing": [
            None,
            StrOptions({"auto", "standardize", "quantile", "zca"}),
            HasMethods(["fit", "transform"]),
        ],
        "random_state": ["random_state"],
        "device": [str, torch.device],
        "dtype": [StrOptions({"auto", "float32", "float64", "bfloat16"}), torch.dtype],
    }

    @_fit_context(prefer_skip_nested_validation=False)
    @substitute
    def fit(self: _Estimator, X: ArrayLike, y: ArrayLike) -> _Estimator:
        """Make ``coreset_`` of the rows X with the labels y.

        Parameters
        ----------
        %(fit_parameters)s

        Returns
        -------
        self

        %(fit_raises)s
        """
        self._fit(X, y)
        # Only now, when the coreset is stored: a warning may be turned into an error.
        self._warn_of_ending()
        return self

    @keep_state_on_error
    @own_torch_modes()
    def _fit(self, X, y, resampling=False, validation=(None, None)):
        begin = time.monotonic()
        downstream = self._resolved_downstream(resampling)
        self._check_downstream(downstream, resampling)
        context = prepare(self, X, y, self._draw_seed(), downstream, validation)
        self._make(context, begin)
        self.classes_ = context.classes
        self.image_shape_ = context.image_shape
        self._layout = context.layout
        # Unlike those of the coreset, which needs no pickle, in the type of y.
        self._item_labels = context.classes[context.item_y_encoded]
        self._seeds = context.rng.integers(2**31, size=N_EVALUATION_NETWORKS).tolist()

    def _resolved_downstream(self, resampling):
        """What the items are for: "nngp" or "any"; ``resampling``: they are all that is wanted."""
        return "nngp"

    def _check_downstream(self, downstream, resampling):
        """Raise, or warn, where parameters do not go with what the items are for."""

    def _depth_is_open(self, shape):
        """Whether the rows decide how many blocks the network has, for inputs of this shape."""
        return depth_is_open(self, shape)

    def _draw_seed(self):
        seed = self.random_state
        return int(
            seed
            if isinstance(seed, Integral)
            else check_random_state(seed).randint(np.iinfo(np.int32).max)
        )

    def _warn_of_ending(self):
        """Say how ``fit`` ended where it did not end well."""

    def _make_coreset(self, context, variables, *, rows=None, **provenance):
        """Coreset of the variables; ``rows`` are its items in the units of X, where known."""
        if rows is None:
            items = variables["X"].detach().cpu().numpy()
            rows = context.raw_items(items.reshape(len(context.item_y_encoded), -1))
        if context.columns is not None:
            rows = context.columns.collapse(rows)
        return Coreset(
            X=np.asarray(rows).astype(float_dtype(context.rows), copy=False),
            targets=_doubles(variables["targets"]),
            classes=context.classes,
            y=context.classes[context.item_y_encoded],
            architecture=context.spec,
            preprocessing=context.preprocessing,
            image_shape=context.image_shape,
            logit_scale=variables["log_scale"].exp().item(),
            reg=self.reg,
            kernel=self._kernel,
            feature_names=getattr(self, "feature_names_in_", None),
            corruption_mask=None if context.frozen is None else context.frozen.mask,
            solved_targets=_doubles(variables.get("solved_targets")),
            sample_weight=context.item_weights,
            columns=self._columns,
            provenance={
                "method": type(self).__name__,
                "version": __version__,
                "settings": self._plain_settings(),
                "seed": context.seed,
                **provenance,
            },
        )

    def _plain_settings(self):
        """Parameters as JSON values."""
        settings = {
            name: [[plain_label(key), n] for key, n in value.items()]
            if isinstance(value, dict)
            else value
            for name, value in self.get_params(deep=False).items()
            if name not in _NOT_SETTINGS
        }
        if "scoring" in settings:
            settings["scoring"] = scoring_name(settings["scoring"])
        if not isinstance(settings.get("init", ""), str):
            # These may be real rows.
            settings["init"] = type(settings["init"]).__name__
        if not isinstance(settings.get("downstream", ""), str):
            # With its parameters, on one line.
            settings["downstream"] = " ".join(str(settings["downstream"]).split())
        return json.loads(json.dumps(settings, default=_plain))

    @own_torch_modes()
    def transform(self, X: ArrayLike) -> np.ndarray:
        """Features of the rows of X: their kernel with the coreset, whitened, centred and scaled.

        ``K(X, S) (K(S, S) + ridge)^(-1/2)``, a Nystroem map with the coreset as landmarks, less its
        mean over the coreset, and divided by one number, so that its variance there is one on
        average: linear models learn from it with their default penalty. The kernel is exact for
        :class:`KIPDistiller`, and where ``kernel_method="auto"`` of :class:`NNGPKernelRidge` is.

        Parameters
        ----------
        X : array of shape (n, d), (n, H, W) or (n, H, W, channels), or data frame

        Returns
        -------
        array of shape (n, n_items)
            In the float type of X.
        """
        check_is_fitted(self)
        rows, _ = check_rows(self, X, reset=False, image_shape=self.image_shape_)
        coreset, device = self.coreset_, resolve_device(self.device)
        inputs = coreset.inputs
        dtype = torch.promote_types(resolve_dtype(self.dtype, device), torch.float32)

        def as_inputs(preprocessed):
            return torch.tensor(preprocessed, dtype=dtype).reshape(-1, *inputs.shape[1:])

        def read(start, stop):
            return as_inputs(coreset.preprocessing.apply(rows[start:stop]))

        model, offset = self._transform_model(as_inputs(inputs).to(device))
        features = model.scores(read, len(rows), device=device, dtype=dtype) - offset
        return features.astype(float_dtype(rows), copy=False)

    def _transform_model(self, inputs):
        """Model whose scores, less an offset, are the features; the offset as an array."""
        coreset, shape = self.coreset_, tuple(inputs.shape[1:])
        spec, kernel, reg = coreset.architecture, coreset.kernel, coreset.reg
        method, _ = select_kernel_method(
            self._transform_method, kernel, spec, shape, coreset.n_items
        )
        if method == "exact":
            gram = exact_kernel(spec, exact_inputs(spec, inputs), kernel=kernel)
            coefficients, offset = landmark_features(gram, reg)
            return ExactModel.build(spec, kernel, inputs, coefficients), offset.cpu().numpy()
        networks = cpu_networks(spec, shape, self._seeds, inputs.device, inputs.dtype)
        features = cached_features(spec, networks, inputs).double()
        coefficients, offset = landmark_features(kernel_product(spec, features, features), reg)
        weights = feature_weights(spec, features, coefficients).cpu().numpy()
        return FeatureModel(spec, shape, self._seeds, weights), offset.cpu().numpy()

    @_fit_context(prefer_skip_nested_validation=False)
    def fit_resample(self, X: Any, y: Any) -> tuple[Any, Any]:
        """Fit, and return the items and their labels: the verb of imbalanced-learn.

        Parameters
        ----------
        X : array of shape (n, d), (n, H, W) or (n, H, W, channels), or data frame
        y : array of shape (n,) or series

        Returns
        -------
        X_resampled : array of shape (n_items, ...), or data frame
            In the layout, the units and the types of X: bytes stay bytes, categories categories;
            numbers are rounded in columns of a data frame that hold integers.
        y_resampled : array of shape (n_items,) or series
        """
        self._fit(X, y, resampling=True)
        self._warn_of_ending()
        items = self.coreset_.X.reshape(-1, *self._layout).copy()
        return like_input(items, self._item_labels.copy(), X, y, self._columns)

    def as_sampler(self, sampling_strategy: Any = None) -> CoresetSampler:
        """This estimator as a step of an imbalanced-learn pipeline.

        Parameters
        ----------
        sampling_strategy : str, float, dict, callable or None, default=None
            Which classes are distilled, and to how many items; see :class:`CoresetSampler`. None:
            all, by ``ipc`` or ``n_items``.

        Returns
        -------
        CoresetSampler
        """
        return CoresetSampler(self, sampling_strategy)

    @property
    def _n_features_out(self):
        return self.coreset_.n_items

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = self.missing == "impute"
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _doubles(tensor):
    """A tensor as a float64 array; None stays None."""
    return None if tensor is None else tensor.detach().cpu().double().numpy()


def _plain(value):
    """JSON value in place of another: numbers, small arrays, words, else the name of the type."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray) and value.size <= _FEW_ENTRIES:
        return value.tolist()
    if isinstance(value, (*ARCHITECTURES, torch.dtype, torch.device)):
        return str(value)
    return type(value).__name__
