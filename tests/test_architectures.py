import json
import math
import pickle
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.utils import estimator_html_repr

from rfad_sklearn import MLP, ConvNet, NNGPKernelRidge, RFADDistiller
from rfad_sklearn._networks.random_features import draw_network
from rfad_sklearn._utils.network_spec import (
    ConvNetSpec,
    MLPSpec,
    resolve_norm,
    same_kernel,
    spec_from_dict,
    spec_to_dict,
)
from rfad_sklearn.architectures import is_open, resolve_architecture

IMAGES = (8, 8, 1)
BOTH = [ConvNet, MLP]


# What a user writes


@pytest.mark.parametrize("kind", BOTH)
def test_parameters_are_assigned_as_they_are(kind):
    width = [8, 16]
    architecture = kind(depth=2.5, width=width, sigma_w="wide")
    assert architecture.width is width
    assert architecture.get_params() == architecture.get_params(deep=False)
    assert list(architecture.get_params())[:4] == ["depth", "width", "sigma_w", "sigma_b"]
    assert (architecture.depth, architecture.sigma_w) == (2.5, "wide")


@pytest.mark.parametrize("kind", BOTH)
def test_parameters_are_set_by_name(kind):
    architecture = kind()
    assert architecture.set_params(depth=2, width=64) is architecture
    assert architecture == kind(depth=2, width=64)
    with pytest.raises(
        ValueError, match=f"Invalid parameter 'colour' for {kind.__name__}; valid parameters are"
    ):
        architecture.set_params(colour=1)


@pytest.mark.parametrize("architecture", [ConvNet(width=[4, 8], readout="mean"), MLP(sigma_b=0)])
def test_copies_are_equal_and_independent(architecture):
    for copy in (clone(architecture), pickle.loads(pickle.dumps(architecture))):
        assert copy == architecture
        assert copy is not architecture
        assert copy.set_params(depth=7) != architecture


def test_equality_is_of_kind_and_parameters():
    assert ConvNet() == ConvNet(depth=None)
    assert ConvNet() != ConvNet(depth=3)
    assert ConvNet() != MLP()
    assert MLP() != "auto"
    with pytest.raises(TypeError, match="unhashable"):
        hash(MLP())


@pytest.mark.parametrize(
    ("architecture", "text"),
    [
        (ConvNet(), "ConvNet()"),
        (ConvNet(depth=2, pooling="none"), "ConvNet(depth=2, pooling='none')"),
        (MLP(width=(8, 4)), "MLP(width=(8, 4))"),
    ],
)
def test_representation_shows_what_was_changed(architecture, text):
    assert repr(architecture) == text
    estimator = NNGPKernelRidge(architecture=architecture)
    # scikit-learn breaks lines.
    assert "".join(f"architecture={text}".split()) in "".join(repr(estimator).split())
    assert type(architecture).__name__ in estimator_html_repr(estimator)


@pytest.mark.parametrize("estimator", [NNGPKernelRidge, RFADDistiller])
def test_estimators_reach_into_their_architecture(estimator):
    original = estimator(architecture=ConvNet())
    assert original.get_params()["architecture__pooling"] == "avg"
    changed = clone(original).set_params(architecture__depth=2)
    assert changed.architecture == ConvNet(depth=2)
    assert original.architecture == ConvNet()


# How it is resolved


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((28, 28, 1), ConvNetSpec(depth=3, width=128)),
        ((8, 8, 3), ConvNetSpec(depth=3, width=128)),
        ((7, 9, 1), ConvNetSpec(depth=2, width=128)),
        ((2, 30, 1), ConvNetSpec(depth=1, width=128)),
        ((1, 30, 1), ConvNetSpec(depth=3, width=128, pooling="none")),
        ((13,), MLPSpec(depth=3, width=256)),
    ],
)
def test_auto_uses_fewer_stages_for_small_images(shape, expected):
    assert resolve_architecture("auto", shape) == expected


@pytest.mark.parametrize(
    ("architecture", "shape", "expected"),
    [
        (ConvNet(), (7, 9, 1), ConvNetSpec(depth=2, width=128)),
        (ConvNet(pooling="none"), (1, 30, 1), ConvNetSpec(depth=3, width=128, pooling="none")),
        (ConvNet(width=(4, 8)), IMAGES, ConvNetSpec(depth=2, width=(4, 8))),
        (ConvNet(width=[4, 8]), IMAGES, ConvNetSpec(depth=2, width=(4, 8))),
        (ConvNet(depth=1, sigma_b=0), IMAGES, ConvNetSpec(depth=1, width=128, sigma_b=0.0)),
        (MLP(width=7), (5,), MLPSpec(depth=3, width=7)),
        (MLP(width=(9, 7, 5, 3)), (5,), MLPSpec(depth=4, width=(9, 7, 5, 3))),
    ],
)
def test_open_fields_are_filled_by_the_shape(architecture, shape, expected):
    before = clone(architecture)
    assert resolve_architecture(architecture, shape) == expected
    assert architecture == before


def test_only_open_fields_are_filled_by_the_caller():
    fill = {"depth": 1, "width": 5}
    assert resolve_architecture("auto", IMAGES, **fill) == ConvNetSpec(1, 5)
    assert resolve_architecture(ConvNet(), IMAGES, **fill) == ConvNetSpec(1, 5)
    assert resolve_architecture(ConvNet(depth=2), IMAGES, **fill) == ConvNetSpec(2, 5)
    assert resolve_architecture(ConvNet(width=9), IMAGES, **fill) == ConvNetSpec(1, 9)
    assert resolve_architecture(ConvNet(width=(9, 8)), IMAGES, **fill) == ConvNetSpec(2, (9, 8))
    assert resolve_architecture(MLPSpec(2, 3), (4,), **fill) == MLPSpec(2, 3)


@pytest.mark.parametrize(
    ("architecture", "open_fields"),
    [
        ("auto", {"depth", "width"}),
        (ConvNet(), {"depth", "width"}),
        (ConvNet(depth=3), {"width"}),
        (MLP(width=3), {"depth"}),
        (MLP(width=(3, 4)), set()),
        (MLPSpec(), set()),
    ],
)
def test_open_fields(architecture, open_fields):
    assert {field for field in ("depth", "width") if is_open(architecture, field)} == open_fields


WRONG_FIELDS = [
    (ConvNet(depth=0), ValueError, "ConvNet: depth must be at least 1, got 0"),
    (ConvNet(depth=True), TypeError, "ConvNet: depth must be an int, got True"),
    (ConvNet(width=2.5), TypeError, "width must be an int or a tuple of ints, got 2.5"),
    (
        ConvNet(width=(8, 8, 2.5)),
        TypeError,
        r"width must be an int or a tuple of ints, got \(8, 8, 2.5\)",
    ),
    (
        ConvNet(depth=3, width=(8, 8)),
        ValueError,
        r"width=\(8, 8\) names 2 layers, but depth=3; name one width for each",
    ),
    (ConvNet(width=()), ValueError, "depth must be at least 1, got 0"),
    (ConvNet(sigma_w=0), ValueError, "sigma_w must be finite and above 0, got 0"),
    (ConvNet(sigma_w="a"), TypeError, "sigma_w must be a float, got 'a'"),
    (ConvNet(sigma_b=-0.1), ValueError, "sigma_b must be finite and at least 0, got -0.1"),
    (ConvNet(sigma_b=float("nan")), ValueError, "sigma_b must be finite and at least 0, got nan"),
    (ConvNet(pooling="max"), ValueError, r"pooling must be one of \('avg', 'none'\), got 'max'"),
    (ConvNet(readout="sum"), ValueError, r"readout must be one of \('flatten', 'mean'\)"),
    (ConvNet(depth=4), ValueError, "depth=4 needs images of at least 16x16 pixels, got 8x8; use"),
    (MLP(), ValueError, r"architecture=MLP\(depth=3.*takes flat rows, got images"),
    ("large", ValueError, "The 'architecture' parameter of .* must be"),
    (ConvNet, ValueError, "The 'architecture' parameter of .* must be"),
]


@pytest.mark.parametrize("estimator", [NNGPKernelRidge, RFADDistiller])
@pytest.mark.parametrize(("architecture", "error", "message"), WRONG_FIELDS)
def test_wrong_fields_are_refused_in_fit(digits, estimator, architecture, error, message):
    X, _, y, _ = digits
    with pytest.raises(error, match=message):
        estimator(architecture=architecture).fit(X, y)


def test_networks_take_their_own_kind_of_input():
    with pytest.raises(
        ValueError, match="takes images, got flat rows of 5 columns; give image_shape"
    ):
        resolve_architecture(ConvNet(), (5,))
    with pytest.raises(ValueError, match="takes flat rows, got images"):
        resolve_architecture(MLP(), IMAGES)
    with pytest.raises(
        ValueError, match=r"depth=4 needs images of at least 16x16 pixels, got 8x9; use depth <= 3"
    ):
        resolve_architecture("auto", (8, 9, 1), depth=4)


def test_a_search_over_the_depth_of_a_classifier(digits):
    X, _, y, _ = digits
    classifier = NNGPKernelRidge(architecture=ConvNet(width=8), n_networks=1, random_state=0)
    search = GridSearchCV(classifier, {"architecture__depth": [1, 2]}, cv=2, error_score="raise")
    search.fit(X[:60], y[:60])
    depth = search.best_params_["architecture__depth"]
    assert search.best_estimator_.architecture == ConvNet(depth=depth, width=8)
    assert classifier.architecture == ConvNet(width=8)


def test_a_search_over_the_depth_of_a_distiller_inside_a_classifier():
    X, y = load_iris(return_X_y=True)
    distiller = RFADDistiller(architecture=MLP(width=8), max_iter=2, random_state=0)
    search = GridSearchCV(
        NNGPKernelRidge(distiller=distiller),
        {"distiller__architecture__depth": [1, 2]},
        cv=2,
        error_score="raise",
    ).fit(X, y)
    depth = search.best_params_["distiller__architecture__depth"]
    assert search.best_estimator_.coreset_.architecture == MLPSpec(depth=depth, width=8)


# The frozen specs


@pytest.mark.parametrize(
    "spec",
    [
        MLPSpec(depth=2, width=7, sigma_b=0.3),
        ConvNetSpec(depth=1, pooling="none", readout="mean"),
        ConvNetSpec(depth=2, width=(3, 8)),
    ],
)
def test_round_trip_through_json(spec):
    assert spec_from_dict(json.loads(json.dumps(spec_to_dict(spec)))) == spec
    assert repr(spec).startswith(f"{spec.public_name}(depth={spec.depth}, width={spec.width}")
    with pytest.raises(FrozenInstanceError):
        spec.depth = 1


def test_numbers_of_numpy_go_into_a_file():
    spec = resolve_architecture(
        ConvNet(
            depth=np.int64(2),
            width=tuple(np.array([4, 8])),
            sigma_w=np.float32(1.5),
            sigma_b=np.int64(1),
        ),
        IMAGES,
    )
    plain = ConvNetSpec(depth=2, width=(4, 8), sigma_w=1.5, sigma_b=1.0)
    assert spec_from_dict(json.loads(json.dumps(spec_to_dict(spec)))) == spec == plain


def test_unknown_network_in_a_dictionary():
    with pytest.raises(ValueError, match=r"unknown network 'LSTM'; known: \['ConvNet', 'MLP'\]"):
        spec_from_dict({"name": "LSTM"})


@pytest.mark.parametrize(
    ("spec", "shape"),
    [
        (ConvNetSpec(depth=3, width=(4, 6, 10)), (9, 8, 2)),
        (MLPSpec(depth=2, width=(3, 5)), (7,)),
        (ConvNetSpec(width=4), IMAGES),
        (MLPSpec(depth=3, width=7), (5,)),
        (ConvNetSpec(depth=2, width=7), (8, 8, 3)),
    ],
)
def test_layers_are_counted_as_they_are_drawn(spec, shape):
    layers = draw_network(spec, shape, 0)
    assert (
        tuple(len(bias) for _, bias in layers)
        == spec.n_filters
        == tuple(math.ceil(width / 2) for width in spec.widths)
    )
    assert spec.n_weights(shape) == sum(part.numel() for layer in layers for part in layer)
    assert spec.n_features(shape) == spec.widths[-1] * (
        1 if len(shape) == 1 else math.prod(side >> spec.depth for side in shape[:2])
    )


def test_the_largest_layer():
    assert MLPSpec(depth=2, width=(3, 5)).largest_layer((7,)) == 5
    assert ConvNetSpec(depth=2, width=(2, 4)).largest_layer(IMAGES) == 8 * 8 * 2
    assert ConvNetSpec(depth=2, width=(2, 32)).largest_layer((8, 9, 1)) == 4 * 4 * 32
    unpooled = ConvNetSpec(depth=2, width=(2, 4), pooling="none")
    assert unpooled.largest_layer(IMAGES) == 8 * 8 * 4


def test_features_are_counted_after_flooring():
    shape = (28, 28, 1)
    assert ConvNetSpec(depth=3, width=10).n_features(shape) == 3 * 3 * 10
    assert ConvNetSpec(depth=3, width=10, pooling="none").n_features(shape) == 28 * 28 * 10
    assert ConvNetSpec(depth=3, width=10, readout="mean").n_features(shape) == 10


def test_width_does_not_change_the_kernel_but_depth_does():
    assert same_kernel(ConvNetSpec(width=3), ConvNetSpec(width=(4, 6, 10)))
    assert not same_kernel(ConvNetSpec(depth=2), ConvNetSpec(depth=3))
    assert not same_kernel(ConvNetSpec(depth=2, width=7), ConvNetSpec(width=(4, 6, 10)))
    assert not same_kernel(ConvNetSpec(), MLPSpec())


def test_normalisation_needs_maps():
    assert resolve_norm("auto", ConvNetSpec(depth=3), (32, 32, 3))
    assert not resolve_norm("auto", ConvNetSpec(depth=3), IMAGES)
    assert not resolve_norm("auto", MLPSpec(), (5,))
    assert not resolve_norm(None, ConvNetSpec(), (32, 32, 3))
    assert resolve_norm("instance", ConvNetSpec(), IMAGES)
    with pytest.raises(ValueError, match="norm='instance' needs a ConvNet with maps of more than"):
        resolve_norm("instance", MLPSpec(), (5,))
