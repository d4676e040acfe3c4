"""scikit-learn's own checks of every public estimator."""

import inspect

import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

import rfad_sklearn
from rfad_sklearn import (
    MLP,
    ChannelStandardizer,
    CoresetSampler,
    CoresetSelector,
    FiniteNetworkClassifier,
    GradientMatchingDistiller,
    InstanceNormalizer,
    KIPDistiller,
    NNGPKernelRidge,
    QuantileNormalizer,
    RegularizedZCA,
    RFADDistiller,
)

NARROW = {"architecture": MLP(width=8)}
SMALL = {"max_iter": 3, "eval_every": 2, "n_networks": 2, **NARROW}
ESTIMATORS = [
    RFADDistiller(**SMALL),
    KIPDistiller(max_iter=3, eval_every=2, batch_size=32),
    NNGPKernelRidge(),
    # Items for any model.
    CoresetSampler(RFADDistiller(max_iter=3, eval_every=2, **NARROW)),
    CoresetSelector(n_networks=2, **NARROW),
    GradientMatchingDistiller(max_iter=3, eval_every=2, batch_size=8, **NARROW),
    FiniteNetworkClassifier(architecture=MLP(width=32), max_iter=60),
    ChannelStandardizer(),
    RegularizedZCA(),
    InstanceNormalizer(),
    QuantileNormalizer(),
]
# The same with other parameters.
VARIANTS = [
    RFADDistiller(
        **SMALL,
        init="kmeans",
        preprocessing="zca",
        learn_labels=True,
        loss="mse",
        early_stopping=False,
    ),
    RFADDistiller(**SMALL, learn_labels="solve", preprocessing="quantile"),
    RFADDistiller(downstream="any", max_iter=3, eval_every=2, **NARROW),
    KIPDistiller(
        max_iter=3,
        eval_every=2,
        batch_size=32,
        kernel="nngp",
        loss="cross_entropy",
        learn_labels="solve",
    ),
    NNGPKernelRidge(kernel_method="random_features", n_networks=2, architecture=MLP(width=64)),
    NNGPKernelRidge(missing="impute"),
    RFADDistiller(**SMALL, missing="impute"),
    # Two networks are too few to classify with.
    NNGPKernelRidge(
        distiller=RFADDistiller(ipc=1, max_iter=60, eval_every=30, architecture=MLP(width=64))
    ),
    CoresetSelector(strategy="centroids", **NARROW),
    CoresetSelector(strategy="kcenter", space="features", n_networks=2, **NARROW),
    FiniteNetworkClassifier(
        architecture=MLP(width=32), max_iter=60, loss="cross_entropy", early_stopping=False
    ),
]


@parametrize_with_checks(ESTIMATORS)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def _too_few_steps(estimator):
    """Checks that a variant of few steps cannot pass."""
    if getattr(estimator, "distiller", None) is None or not hasattr(estimator, "reg"):
        return {}
    why = "items learn weights of ten million to one in about a thousand steps"
    return {"check_class_weight_classifiers": why}


@pytest.mark.slow
@parametrize_with_checks(VARIANTS, expected_failed_checks=_too_few_steps)
def test_scikit_learn_checks_of_variants(estimator, check):
    check(estimator)


def test_every_public_estimator_is_checked():
    public = {
        thing
        for name in rfad_sklearn.__all__
        if inspect.isclass(thing := getattr(rfad_sklearn, name))
        and issubclass(thing, BaseEstimator)
    }
    assert public == {type(estimator) for estimator in ESTIMATORS}


# Checks that the collection leaves out.
ALL = [*ESTIMATORS, *VARIANTS]
TRANSFORMERS = [e for e in ALL if hasattr(e, "get_feature_names_out")]
LEFT_OUT = [
    ("check_param_validation", [e for e in ALL if not isinstance(e, CoresetSampler)]),
    ("check_dataframe_column_names_consistency", ALL),
    ("check_n_features_in_after_fitting", ALL),
    ("check_set_output_transform", TRANSFORMERS),
    ("check_set_output_transform_pandas", TRANSFORMERS),
    ("check_global_output_transform_pandas", TRANSFORMERS),
    ("check_transformer_get_feature_names_out", TRANSFORMERS),
    ("check_transformer_get_feature_names_out_pandas", TRANSFORMERS),
]


@pytest.mark.filterwarnings(
    "ignore:X does not have valid feature names", "ignore:X has feature names"
)
@pytest.mark.parametrize(
    ("check", "estimator"),
    [
        pytest.param(name, estimator, marks=[pytest.mark.slow] if estimator in VARIANTS else [])
        for name, estimators in LEFT_OUT
        for estimator in estimators
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_checks_that_the_collection_leaves_out(check, estimator):
    getattr(estimator_checks, check)(type(estimator).__name__, clone(estimator))
