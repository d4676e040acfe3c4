"""What surrogates see of a step."""

import pytest
import torch

from rfad_sklearn._surrogates.models import SURROGATES, Batch, SurrogateModels


def loss(name, network_lengths, unit):
    """Loss of one surrogate where rows and items are seen in some unit."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(30, 6, generator=generator)
    batch = Batch(
        rows=rows,
        labels=torch.arange(30) % 3,
        items=rows[:9].clone(),
        kept=torch.arange(9),
        y=torch.arange(9) % 3,
        n_classes=3,
        view=(torch.full((6,), unit), torch.full((6,), 0.1 * unit)),
        network_lengths=network_lengths,
        ranks=None,
        spacing=1.0,
        generator=torch.Generator().manual_seed(1),
    )
    return SurrogateModels([name]).loss(batch, torch.zeros(1)) / SURROGATES[name]


def test_a_network_sees_lengths_that_are_drawn_not_units():
    same, other = loss("network", (1.3, 1.7), 1.0), loss("network", (1.3, 1.7), 50.0)
    torch.testing.assert_close(same, other)
    # As they are, long rows saturate a network.
    as_they_are, longer = loss("network", None, 1.0), loss("network", None, 50.0)
    assert longer > 2 * as_they_are


@pytest.mark.parametrize("name", ["rbf", "neighbours"])
def test_kernel_machines_do_not_depend_on_units(name):
    torch.testing.assert_close(loss(name, None, 1.0), loss(name, None, 50.0))
