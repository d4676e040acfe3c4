"""Differentiable siamese augmentation of images (Zhao and Bilen 2021).

Each call draws one kind of change, which is then the same for real and for synthetic images.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F

# All values are those of the paper.
# Range of the offset of the brightness, in units of the preprocessed images.
_BRIGHTNESS = 1.0
# Largest factor of the saturation; the least is 0.
_SATURATION = 2.0
# Least factor of the contrast; the largest is one more.
_CONTRAST = 0.5
# Largest shift of a crop, as a share of the side.
_SHIFT = 0.125
# Side of the hole of a cutout, as a share of the image's.
_HOLE = 0.5
# Largest zoom factor; the least is its inverse.
_ZOOM = 1.2
# Largest rotation in degrees, to either side.
_ROTATION = 15.0


def _uniform(shape, generator, low=0.0, high=1.0):
    return low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float32)


def _colour(n, shape, generator):
    brightness, saturation, contrast = (_uniform((n, 1, 1, 1), generator) for _ in range(3))

    def change(x):
        x = x + _BRIGHTNESS * (brightness - 0.5).to(x)
        grey = x.mean(3, keepdim=True)
        x = grey + _SATURATION * saturation.to(x) * (x - grey)
        mean = x.mean((1, 2, 3), keepdim=True)
        return mean + (_CONTRAST + contrast.to(x)) * (x - mean)

    return change


def _affine(matrix):
    """Image read at ``matrix @ (x, y, 1)`` with coordinates from -1 to 1, outside zero.

    Zero is the mean colour of preprocessed images.
    """

    def change(x):
        images = x.permute(0, 3, 1, 2)
        theta = matrix.to(x).expand(len(x), 2, 3)
        grid = F.affine_grid(theta, list(images.shape), align_corners=False)
        return F.grid_sample(images, grid, align_corners=False).permute(0, 2, 3, 1)

    return change


def _matrix(n, a=1.0, b=0.0, c=0.0, d=1.0, dx=0.0, dy=0.0):
    entries = [
        torch.as_tensor(entry, dtype=torch.float32).expand(n) for entry in (a, b, dx, c, d, dy)
    ]
    return torch.stack(entries, dim=1).view(n, 2, 3)


def _crop(n, shape, generator):
    shifts = []
    for side in (shape[1], shape[0]):
        pixels = max(round(_SHIFT * side), 1)
        shifts.append(
            torch.randint(-pixels, pixels + 1, (n,), generator=generator).float() * (2 / side)
        )
    return _affine(_matrix(n, dx=shifts[0], dy=shifts[1]))


def _flip(n, shape, generator):
    chosen = torch.randint(2, (n, 1, 1, 1), generator=generator).bool()
    return lambda x: torch.where(chosen.to(x.device), x.flip(2), x)


def _scale(n, shape, generator):
    zoom = _uniform((2, n), generator, 1 / _ZOOM, _ZOOM)
    return _affine(_matrix(n, a=zoom[0], d=zoom[1]))


def _rotate(n, shape, generator):
    angle = math.radians(_ROTATION) * _uniform((n,), generator, -1.0, 1.0)
    # Without this an image that is not square would be sheared in coordinates from -1 to 1.
    ratio = shape[0] / shape[1]
    return _affine(
        _matrix(n, a=angle.cos(), b=-angle.sin() * ratio, c=angle.sin() / ratio, d=angle.cos())
    )


def _cutout(n, shape, generator):
    mask = torch.ones((n, *shape[:2], 1))
    for k in range(n):
        top, left = (int(torch.randint(side, (1,), generator=generator)) for side in shape[:2])
        half = [max(round(_HOLE * side / 2), 1) for side in shape[:2]]
        mask[k, max(top - half[0], 0) : top + half[0], max(left - half[1], 0) : left + half[1]] = 0
    return lambda x: x * mask.to(x)


AUGMENTATIONS = {
    "color": _colour,
    "crop": _crop,
    "cutout": _cutout,
    "flip": _flip,
    "rotate": _rotate,
    "scale": _scale,
}


def draw_augmentation(names, n, shape, generator):
    """Draw one of the named augmentations.

    Parameters
    ----------
    names : sequence of str
        Keys of ``AUGMENTATIONS``; one of them is drawn.
    n : int
        Number of images with a change of their own each; 1 gives a change that is the same for all
        images of any batch (*siamese*).
    shape : tuple (H, W, channels)
    generator : torch.Generator
        On the CPU.

    Returns
    -------
    callable
        Takes images ``(n, H, W, channels)`` to images, differentiably.
    """
    name = names[int(torch.randint(len(names), (1,), generator=generator))]
    return AUGMENTATIONS[name](n, shape, generator)


def flip_half(x, may, generator):
    """Horizontal flip of some images, drawn at random.

    Parameters
    ----------
    x : tensor of shape (n, H, W, channels)
    may : bool tensor of shape (n,)
        Which images may be flipped, each with probability one half.
    generator : torch.Generator
        On the CPU.

    Returns
    -------
    tensor of shape (n, H, W, channels)
    """
    return torch.where(may.view(-1, 1, 1, 1), _flip(len(x), tuple(x.shape[1:]), generator)(x), x)


def augment_images(x, y_encoded, names, flipped, generator):
    """Training images changed at random, each by itself.

    Parameters
    ----------
    x : tensor of shape (n, H, W, channels)
    y_encoded : int tensor of shape (n,)
        Numbers of their classes.
    names : tuple of str
        Keys of ``AUGMENTATIONS``, one of which is drawn.
    flipped : tuple of int
        Where there are some, half of the images of these classes are flipped left to right, and
        nothing else is changed.
    generator : torch.Generator
        On the CPU.

    Returns
    -------
    tensor of shape (n, H, W, channels)
    """
    if flipped:
        may = torch.isin(y_encoded, torch.tensor(flipped, device=y_encoded.device))
        return flip_half(x, may, generator)
    if names:
        return draw_augmentation(names, len(x), tuple(x.shape[1:]), generator)(x)
    return x


def check_augment(augment, shape):
    """Names of the augmentations that a user's ``augment`` selects, a tuple.

    Raises
    ------
    ValueError
        For unknown names, and for rows that are not images.
    """
    given = augment
    if isinstance(augment, bool | np.bool_):
        augment = tuple(AUGMENTATIONS) if augment else None
    if augment is None:
        return ()
    # The names of a set have no order, and the order decides what is drawn.
    names = () if isinstance(augment, set | frozenset) else tuple(augment)
    if not names or any(not isinstance(name, str) or name not in AUGMENTATIONS for name in names):
        raise ValueError(
            f"augment must be 'auto', True, False or a sequence of names among "
            f"{sorted(AUGMENTATIONS)}, got {given!r}."
        )
    names = tuple(map(str, names))
    if len(shape) != 3:
        raise ValueError(
            f"augment={given!r} changes images, but X holds flat rows; "
            "give image_shape, or use augment=False."
        )
    return names
