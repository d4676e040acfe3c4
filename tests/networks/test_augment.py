import numpy as np
import pytest
import torch

from rfad_sklearn._networks.augment import AUGMENTATIONS, check_augment, draw_augmentation

SHAPE = (12, 8, 3)


def draw(name, n=1, seed=0):
    return draw_augmentation((name,), n, SHAPE, torch.Generator().manual_seed(seed))


@pytest.fixture
def images():
    return torch.rand((5, *SHAPE), generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_siamese_changes_are_the_same_for_all_images(name, images):
    for seed in range(5):
        change = draw(name, seed=seed)
        assert torch.allclose(change(images)[2:3], change(images[2:3]), atol=1e-12)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_changes_of_their_own_differ(name, images):
    same = images[:1].expand(5, *SHAPE)
    assert any(
        (changed - changed[0]).abs().max() > 1e-3
        for seed in range(5)
        for changed in [draw(name, 5, seed)(same)]
    )


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_gradients_flow(name, images):
    images = images[:2, :6, :4].requires_grad_(True)
    change = draw_augmentation((name,), 1, (6, 4, 3), torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(change, (images,))


def test_flip_exchanges_left_and_right(images):
    seen = set()
    for seed in range(10):
        changed = draw("flip", seed=seed)(images)
        flipped = torch.allclose(changed, images.flip(2), atol=1e-6)
        assert flipped or torch.allclose(changed, images, atol=1e-6)
        seen.add(flipped)
    assert seen == {True, False}


def test_crop_shifts_by_whole_pixels(images):
    for seed in range(10):
        changed = draw("crop", seed=seed)(images)
        shifts = [
            torch.allclose(
                changed[:, max(-a, 0) : 12 - max(a, 0), max(-b, 0) : 8 - max(b, 0)],
                images[:, max(a, 0) : 12 - max(-a, 0), max(b, 0) : 8 - max(-b, 0)],
                atol=1e-5,
            )
            for a in range(-2, 3)
            for b in range(-1, 2)
        ]
        assert any(shifts)


def test_cutout_sets_a_hole_to_the_mean_colour(images):
    changed = draw("cutout")(images)
    hole = (changed == 0).all(0).all(-1)
    assert 0 < hole.sum() <= 6 * 4
    assert torch.equal(changed[:, ~hole], images[:, ~hole])


def test_rotation_turns_a_disc_into_itself():
    height, width = torch.meshgrid(
        torch.arange(20.0) - 9.5, torch.arange(30.0) - 14.5, indexing="ij"
    )
    disc = ((height**2 + width**2).sqrt() < 6).double()[None, :, :, None]
    for seed in range(5):
        turned = draw_augmentation(
            ("rotate",), 1, (20, 30, 1), torch.Generator().manual_seed(seed)
        )(disc)
        assert (turned - disc).abs().sum() < 0.15 * disc.sum()
        assert abs((turned.sum() / disc.sum()).item() - 1) < 0.02


def test_scale_keeps_the_centre(images):
    for seed in range(5):
        blob = torch.zeros((1, 13, 13, 1), dtype=torch.float64)
        blob[:, 6, 6] = 1
        zoomed = draw_augmentation(("scale",), 1, (13, 13, 1), torch.Generator().manual_seed(seed))(
            blob
        )
        assert zoomed.flatten().argmax() == 6 * 13 + 6


def test_names_are_checked():
    assert check_augment(False, (4,)) == ()
    assert set(check_augment(True, (8, 8, 1))) == set(AUGMENTATIONS)
    assert check_augment(np.False_, (4,)) == ()
    assert set(check_augment(np.True_, (8, 8, 1))) == set(AUGMENTATIONS)
    assert check_augment(["flip"], (8, 8, 1)) == ("flip",)
    with pytest.raises(ValueError, match="'colour'"):
        check_augment(["colour"], (8, 8, 1))
    with pytest.raises(ValueError, match="flat rows"):
        check_augment(True, (64,))
    with pytest.raises(ValueError, match="names among"):
        check_augment([], (8, 8, 1))
