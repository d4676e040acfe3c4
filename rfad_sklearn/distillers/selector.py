"""Real rows, or means of some, as a coreset: what distilled items are compared with."""

from dataclasses import replace
from numbers import Integral

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions

from .._networks.random_features import cached_features, cpu_networks
from .._planning.memory import held_out_limit
from .._planning.resolution import plan_parameters, resolve_plan
from .._utils.device import explained_memory
from .._utils.docstrings import substitute
from .._utils.row_selection import CENTROIDS, STRATEGIES, centroid_groups, initial_rows, means_of
from ._base import CoresetEstimator
from ._evaluation import evaluation_objective

__all__ = ["CoresetSelector"]

# Rows whose features are computed at a time.
_CHUNK = 512


@substitute
class CoresetSelector(CoresetEstimator):
    """Choose a few real rows per class, or the centroids of k-means.

    The choice is made class by class. Of a class with more than 8,192 rows, as many random ones are
    compared with each other.

    Parameters
    ----------
    %(ipc)s
    %(n_items)s
    strategy : {"random", "kmeans", "centroids", "herding", "kcenter"}, default="kmeans"
        "kmeans": the rows nearest to the centres of k-means. "centroids": these centres, which are
        means of rows, as ``ClusterCentroids`` of imbalanced-learn makes them. "herding": rows whose
        running mean stays nearest to the mean of the class ([1]_). "kcenter": the row nearest to
        the mean, then always the row farthest from those chosen ([2]_).
    space : {"input", "features"}, default="input"
        Where distances are taken: between preprocessed rows, or between random features, that is by
        the NNGP kernel.
    %(architecture)s
    %(image_shape)s
    %(categorical_features)s
    %(missing)s
    preprocessing : {"auto", "standardize", "quantile", "zca"}, transformer or None, \
default="standardize"
        What is applied before the network, as in :class:`RFADDistiller`. A transformer needs no
        ``inverse_transform``. A few real images are worth less when whitened, other than distilled
        ones.
    n_networks : int, default=8
        Random networks of the features.
    reg : float, default=5e-3
        Ridge that the coreset is to be used with, relative to the mean diagonal of the kernel
        matrix.
    random_state : int, RandomState instance or None, default=None
        Seed of everything random.
    %(device)s
    dtype : {"auto", "float32", "float64", "bfloat16"}, default="auto"
        Arithmetic of the networks; "auto" and "bfloat16" are float32.

    Attributes
    ----------
    coreset_ : Coreset
        The chosen rows with centred one-hot targets. Its scale is fitted on up to 2,048 of the rows
        that were not chosen.
    sample_indices_ : array of shape (n_items,), or None
        Their numbers in X; None for centroids.
    %(plan_)s
    %(classes_)s
    %(input_attributes)s

    See Also
    --------
    RFADDistiller : Synthetic items in place of real rows.

    References
    ----------
    .. [1] M. Welling, "Herding dynamical weights to learn", ICML 2009.
    .. [2] T. Gonzalez, "Clustering to minimize the maximum intercluster distance", Theoretical
       Computer Science 1985.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from rfad_sklearn import CoresetSelector
    >>> X, y = load_iris(return_X_y=True)
    >>> selector = CoresetSelector(ipc=2, strategy="kcenter", random_state=0).fit(X, y)
    >>> bool((selector.coreset_.X == X[selector.sample_indices_]).all())
    True
    """

    _inverts = False

    _parameter_constraints: dict = {
        **CoresetEstimator._parameter_constraints,
        "strategy": [StrOptions({*STRATEGIES, CENTROIDS})],
        "space": [StrOptions({"input", "features"})],
        "n_networks": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        ipc=1,
        *,
        n_items=None,
        strategy="kmeans",
        space="input",
        architecture="auto",
        image_shape=None,
        categorical_features="from_dtype",
        missing="error",
        preprocessing="standardize",
        n_networks=8,
        reg=5e-3,
        random_state=None,
        device="auto",
        dtype="auto",
    ):
        self.ipc = ipc
        self.n_items = n_items
        self.strategy = strategy
        self.space = space
        self.architecture = architecture
        self.image_shape = image_shape
        self.categorical_features = categorical_features
        self.missing = missing
        self.preprocessing = preprocessing
        self.n_networks = n_networks
        self.reg = reg
        self.random_state = random_state
        self.device = device
        self.dtype = dtype

    def _make(self, context, begin):
        context = replace(context, dtype=torch.promote_types(context.dtype, torch.float32))
        read = self._read_features(context) if self.space == "features" else context.read
        with explained_memory(
            "comparing the rows of a class",
            "n_networks or the architecture's width, or use space='input'",
        ):
            chosen, items = self._choose(context, read)
        variables = context.variables_at(context.preprocessing.apply(items))
        scale = self._fit_scale(context, chosen, variables)
        variables["log_scale"].fill_(np.log(scale))
        self.plan_ = resolve_plan(plan_parameters(self), context)
        self.sample_indices_ = None if self.strategy == CENTROIDS else chosen
        self.coreset_ = self._make_coreset(
            context, variables, rows=items, plan=self.plan_.to_dict()
        )

    def _choose(self, context, read):
        """Numbers of the chosen rows, of which centroids have none, and the items."""
        where = context.y_encoded, context.train, context.per_class
        if self.strategy == CENTROIDS:
            groups = centroid_groups(*where, read, context.rng)
            return np.empty(0, dtype=int), context.one_category(means_of(context.rows, groups))
        chosen = initial_rows(*where, self.strategy, read, context.rng)
        return chosen, context.rows[chosen]

    def _read_features(self, context):
        """A function that gives the random features of rows."""
        seeds = context.rng.integers(2**31, size=self.n_networks).tolist()
        dtype = torch.promote_types(context.dtype, torch.float32)
        networks = cpu_networks(context.spec, context.shape, seeds, context.device, dtype)
        data = context.training_data

        def read(rows):
            parts = torch.from_numpy(rows).split(_CHUNK)
            return np.concatenate(
                [
                    cached_features(context.spec, networks, data.read(part))
                    .flatten(1)
                    .cpu()
                    .numpy()
                    for part in parts
                ]
            )

        return read

    def _fit_scale(self, context, chosen, variables):
        """Scale of the scores on rows that were not chosen, or else on the chosen ones."""
        others = np.setdiff1d(context.train, chosen)
        limit = held_out_limit(context.spec, context.shape, self._max_held_out)
        if len(others) > limit:
            others = np.sort(context.rng.choice(others, limit, replace=False))
        train = chosen if len(chosen) else others
        data = replace(context, train=train, validation=others).training_data
        generator = torch.Generator().manual_seed(int(context.rng.integers(2**62)))
        return evaluation_objective(context, data, self.reg, generator).fit_scale(
            variables, held_out=True
        )
