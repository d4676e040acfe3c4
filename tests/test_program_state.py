"""What a program has set for itself, in torch or in scikit-learn, changes nothing here."""

import contextlib

import numpy as np
import pytest
import sklearn
import torch
from sklearn.pipeline import make_pipeline

from rfad_sklearn import (
    ChannelStandardizer,
    ConvNet,
    FiniteNetworkClassifier,
    GradientMatchingDistiller,
    InstanceNormalizer,
    KIPDistiller,
    NNGPKernelRidge,
    RegularizedZCA,
    RFADDistiller,
)
from rfad_sklearn.kernels import ntk_kernel
from tests.conftest import FAST

GM = {
    "architecture": ConvNet(width=16),
    "max_iter": 2,
    "batch_size": 32,
    "network_life": 2,
    "network_steps": 2,
    "random_state": 0,
}


@contextlib.contextmanager
def default_float64():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


# A device that holds no data: whatever lands there by default cannot be read again.
STATES = {
    "default dtype": default_float64,
    "default device": lambda: torch.device("meta"),
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
}


def everything(X, y, X_test):
    """What fits, transforms, predicts and explains, as arrays."""
    distiller = RFADDistiller(ipc=1, teacher="network", augment=True, learn_labels=True, **FAST)
    distiller.fit(X, y)
    yield distiller.coreset_.X
    yield distiller.coreset_.targets
    yield distiller.transform(X_test)
    features = NNGPKernelRidge(kernel_method="random_features", random_state=0).fit_coreset(
        distiller.coreset_
    )
    yield features.predict_proba(X_test)
    yield features.explain(X_test[:2])
    yield from features.nearest_rows(X_test, 2)
    yield NNGPKernelRidge(kernel="ntk").fit(X[:20], y[:20]).decision_function(X_test)
    network = FiniteNetworkClassifier(
        architecture=ConvNet(width=16), max_iter=3, augment=True, random_state=0
    )
    yield network.fit_coreset(distiller.coreset_, X, y).predict_proba(X_test)
    yield GradientMatchingDistiller(augment=True, **GM).fit(X, y).coreset_.X
    yield (
        KIPDistiller(max_iter=1, batch_size=8, learn_labels="solve", random_state=0)
        .fit(X, y)
        .coreset_.targets
    )
    yield ntk_kernel(X_test[:3])


@pytest.fixture(scope="module")
def usual(digits):
    X, X_test, y, _ = digits
    return list(everything(X, y, X_test))


@pytest.mark.parametrize("state", STATES.values(), ids=list(STATES))
@pytest.mark.slow
def test_torch(digits, usual, state):
    X, X_test, y, _ = digits
    with state():
        changed = list(everything(X, y, X_test))
    for mine, theirs in zip(changed, usual, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize(
    "preprocessor", [ChannelStandardizer(), RegularizedZCA(), InstanceNormalizer()], ids=str
)
def test_data_frames_are_for_tables(digits, preprocessor):
    pytest.importorskip("pandas")
    X, X_test, y, y_test = digits
    alone = preprocessor.fit_transform(X)
    with sklearn.config_context(transform_output="pandas"):
        np.testing.assert_array_equal(preprocessor.fit_transform(X), alone)
        pipeline = make_pipeline(
            preprocessor,
            NNGPKernelRidge(
                kernel_method="random_features",
                architecture=ConvNet(width=32),
                preprocessing=None,
                n_networks=4,
                random_state=0,
            ),
        ).fit(X, y)
        assert pipeline.score(X_test, y_test) > 0.9
        table = preprocessor.fit_transform(X.reshape(len(X), -1))
    assert table.columns.tolist() == [f"x{k}" for k in range(64)]


def test_the_output_container_is_decided_by_each_table(digits):
    pd = pytest.importorskip("pandas")
    X, X_test, _, _ = digits
    flat = X_test.reshape(len(X_test), -1)
    fitted = ChannelStandardizer(image_shape=(8, 8)).fit(X).set_output(transform="pandas")
    assert isinstance(fitted.transform(flat), pd.DataFrame)
    np.testing.assert_array_equal(
        fitted.transform(X_test).reshape(len(flat), -1), fitted.transform(flat).to_numpy()
    )
    make_pipeline(ChannelStandardizer()).fit(X).set_output(transform="pandas")
