import json
import math

import numpy as np
import pytest

from rfad_sklearn import MLP, ConvNet
from rfad_sklearn._networks.random_features import draw_network
from rfad_sklearn.architectures import (
    auto_spec,
    resolve_spec,
    same_kernel,
    spec_from_dict,
    spec_to_dict,
)


@pytest.mark.parametrize(
    "spec",
    [
        MLP(depth=2, width=7, sigma_b=0.3),
        ConvNet(depth=1, pooling="none", readout="mean"),
        ConvNet(depth=2, width=(3, 8)),
    ],
)
def test_round_trip_through_json(spec):
    assert spec_from_dict(json.loads(json.dumps(spec_to_dict(spec)))) == spec


def test_numbers_of_numpy_go_into_a_file():
    spec = ConvNet(
        depth=np.int64(2),
        width=tuple(np.array([4, 8])),
        sigma_w=np.float32(1.5),
        sigma_b=np.int64(1),
    )
    plain = ConvNet(depth=2, width=(4, 8), sigma_w=1.5, sigma_b=1.0)
    assert spec_from_dict(json.loads(json.dumps(spec_to_dict(spec)))) == spec == plain


def test_unknown_network_in_a_dictionary():
    with pytest.raises(ValueError, match=r"unknown network 'LSTM'; known: \['ConvNet', 'MLP'\]"):
        spec_from_dict({"name": "LSTM"})


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ConvNet(depth=0), ValueError, "depth must be at least 1, got 0"),
        (lambda: ConvNet(width=2.5), TypeError, "width must be an int or a tuple of ints, got 2.5"),
        (
            lambda: ConvNet(width=(8, 8, 2.5)),
            TypeError,
            r"width must be an int or a tuple of ints, got \(8, 8, 2.5\)",
        ),
        (lambda: MLP(depth=2, width=(8, 0)), ValueError, r"width must be at least 1, got \(8, 0\)"),
        (
            lambda: ConvNet(width=(8, 8)),
            ValueError,
            r"width=\(8, 8\) names 2 layers, but depth=3; name one width for each",
        ),
        (lambda: MLP(sigma_w=0), ValueError, "sigma_w must be finite and above 0, got 0"),
        (lambda: MLP(sigma_w="a"), TypeError, "sigma_w must be a float, got 'a'"),
        (lambda: MLP(sigma_b=-0.1), ValueError, "sigma_b must be finite and at least 0, got -0.1"),
        (lambda: MLP(sigma_b=float("nan")), ValueError, "sigma_b must be finite"),
        (
            lambda: ConvNet(pooling="max"),
            ValueError,
            r"pooling must be one of \('avg', 'none'\), got 'max'",
        ),
        (lambda: ConvNet(readout="sum"), ValueError, "readout must be one of"),
    ],
)
def test_bad_fields(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((28, 28, 1), ConvNet(depth=3, width=128)),
        ((8, 8, 3), ConvNet(depth=3, width=128)),
        ((7, 9, 1), ConvNet(depth=2, width=128)),
        ((2, 30, 1), ConvNet(depth=1, width=128)),
        ((1, 30, 1), ConvNet(depth=3, width=128, pooling="none")),
        ((13,), MLP(width=256)),
    ],
)
def test_auto_uses_fewer_stages_for_small_images(shape, expected):
    spec = auto_spec(shape)
    assert spec == expected
    spec.check_shape(shape)


@pytest.mark.parametrize(
    ("spec", "shape"),
    [
        (ConvNet(depth=3, width=(4, 6, 10)), (9, 8, 2)),
        (MLP(depth=2, width=(3, 5)), (7,)),
        (ConvNet(width=4), (8, 8, 1)),
    ],
)
def test_layers_of_their_own_width(spec, shape):
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
    assert MLP(depth=2, width=(3, 5)).largest_layer((7,)) == 5
    assert ConvNet(depth=2, width=(2, 4)).largest_layer((8, 8, 1)) == 8 * 8 * 2
    assert ConvNet(depth=2, width=(2, 32)).largest_layer((8, 9, 1)) == 4 * 4 * 32
    assert ConvNet(depth=2, width=(2, 4), pooling="none").largest_layer((8, 8, 1)) == 8 * 8 * 4


def test_widths_do_not_change_the_kernel():
    assert same_kernel(ConvNet(width=(4, 6, 10)), ConvNet(width=7))
    assert not same_kernel(ConvNet(width=(4, 6, 10)), ConvNet(depth=2, width=7))


def test_features_are_counted_after_flooring():
    assert ConvNet(depth=3, width=10).n_features((28, 28, 1)) == 3 * 3 * 10
    assert ConvNet(depth=3, width=10, pooling="none").n_features((28, 28, 1)) == 28 * 28 * 10
    assert ConvNet(depth=3, width=10, readout="mean").n_features((28, 28, 1)) == 10


def test_explicit_depth_that_does_not_fit():
    with pytest.raises(
        ValueError, match=r"depth=4 needs images of at least 16x16 pixels, got 8x9; use depth <= 3"
    ):
        resolve_spec("auto", (8, 9, 1), None, 4)


def test_networks_take_their_own_kind_of_input():
    with pytest.raises(
        ValueError, match="takes images, got flat rows of 5 columns; give image_shape"
    ):
        ConvNet().check_shape((5,))
    with pytest.raises(ValueError, match="takes flat rows, got images"):
        MLP().check_shape((8, 8, 1))


def test_width_does_not_change_the_kernel_but_depth_does():
    assert same_kernel(ConvNet(width=3), ConvNet(width=4))
    assert not same_kernel(ConvNet(depth=2), ConvNet(depth=3))
    assert not same_kernel(ConvNet(), MLP())


@pytest.mark.parametrize(
    ("spec", "shape"), [(MLP(depth=3, width=7), (5,)), (ConvNet(depth=2, width=7), (8, 8, 3))]
)
def test_number_of_weights(spec, shape):
    network = draw_network(spec, shape, 0)
    assert spec.n_weights(shape) == sum(part.numel() for layer in network for part in layer)
