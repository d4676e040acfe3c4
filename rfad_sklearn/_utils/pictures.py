"""Images of any units, made drawable."""

import numpy as np

# Per cent of the pixels that may be darker, and brighter, than the limits of what is drawn.
_OUTSIDE = 0.5


def drawable(images):
    """Images that can be drawn, and the limits of their grey levels.

    Parameters
    ----------
    images : array of shape (n, H, W) or (n, H, W, channels)

    Returns
    -------
    images : float array of shape (n, H, W) or (n, H, W, 3)
        Colours are brought to 0..1. Other numbers of channels than 3 become their mean.
    limits : tuple of float, or (None, None) for colours
        Values to draw as black and as white: all but the darkest and brightest half per cent.
    """
    images = np.asarray(images, dtype=float)
    low, high = np.percentile(images, [_OUTSIDE, 100 - _OUTSIDE])
    if images.ndim == 3:
        return images, (low, high)
    if images.shape[-1] != 3:
        return images.mean(-1), (low, high)
    return scaled(images, low, high), (None, None)


def scaled(images, low, high):
    """``low..high`` brought to 0..1, and what is outside clipped."""
    return np.clip((images - low) / max(high - low, 1e-12), 0, 1)
