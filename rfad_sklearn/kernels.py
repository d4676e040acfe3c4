"""Exact kernels of infinitely wide networks: arrays in, arrays out.

They are called like the functions of :mod:`sklearn.metrics.pairwise`.
"""

from collections.abc import Callable

import numpy as np
import sklearn
import torch
from numpy.typing import ArrayLike
from sklearn.utils import check_array

from ._kernels.exact import exact_kernel
from ._utils.device import explained_memory, own_torch_modes, resolve_device
from ._utils.docstrings import Substitution
from ._utils.validation import as_rows, resolve_image_shape
from .architectures import ARCHITECTURES, MLP, ConvNet, resolve_architecture

__all__ = ["nngp_kernel", "ntk_kernel"]

_PARAMETERS = """Parameters
    ----------
    X : array of shape (n, d), (n, H, W) or (n, H, W, channels)
        Flat rows for an ``MLP``, channels-last images for a ``ConvNet``. They are not preprocessed.
    Y : array of shape (m, ...), default=None
        Inputs of the same kind as X. None: the kernel of X with itself, at half the cost.
    architecture : "auto", ConvNet or MLP, default="auto"
        Network; its width plays no role. "auto" is a :class:`~rfad_sklearn.ConvNet` for images (3-d
        or 4-d X, or ``image_shape`` given) and an :class:`~rfad_sklearn.MLP` for flat rows. A depth
        of None is 3, and less for images smaller than 8x8 pixels.
    image_shape : tuple (H, W) or (H, W, channels), default=None
        Shape of the images when X holds them as flat rows.
    working_memory : float, default=None
        Memory for intermediate results in MiB, besides the returned matrix. None: that of
        :func:`sklearn.get_config`. A single pair of images is never split.
    progress : callable, default=None
        Called from time to time as ``progress(done, total)``, where both count pairs of inputs.
    device : str or torch.device, default="auto"
        Device of the computation; "auto" is CUDA if there is one, else the CPU.

    Returns
    -------
    array of shape (n, m)
        float32 if X and Y are, else float64.

    Raises
    ------
    TypeError
        If ``architecture`` is no network.
    ValueError
        If the network cannot take the inputs, X and Y have different shapes, or they hold NaN or
        infinity; the message says what to change.
    MemoryError
        If the result, or the work on one pair, does not fit.

    Warns
    -----
    RuntimeWarning
        Once per process, if the amount of work calls for compiled code and no compiler works."""


@Substitution(parameters=_PARAMETERS)
def nngp_kernel(
    X: ArrayLike,
    Y: ArrayLike | None = None,
    *,
    architecture: str | ConvNet | MLP = "auto",
    image_shape: tuple[int, ...] | None = None,
    working_memory: float | None = None,
    progress: Callable[[int, int], object] | None = None,
    device: str | torch.device = "auto",
) -> np.ndarray:
    """Covariance of the outputs of an infinitely wide random network.

    %(parameters)s

    See Also
    --------
    ntk_kernel : The kernel of its training.
    rfad_sklearn.NNGPKernelRidge : Classifier with this kernel.

    References
    ----------
    Lee et al. 2018, "Deep Neural Networks as Gaussian Processes", eq. 5 and 11; Novak et al. 2019,
    "Bayesian Deep Convolutional Networks with Many Channels are Gaussian Processes".

    Examples
    --------
    >>> import numpy as np
    >>> from rfad_sklearn import ConvNet
    >>> from rfad_sklearn.kernels import nngp_kernel
    >>> images = np.random.default_rng(0).normal(size=(4, 8, 8))
    >>> nngp_kernel(images, architecture=ConvNet(depth=2)).shape
    (4, 4)
    """
    return _kernel("nngp", X, Y, architecture, image_shape, working_memory, progress, device)


@Substitution(parameters=_PARAMETERS)
def ntk_kernel(
    X: ArrayLike,
    Y: ArrayLike | None = None,
    *,
    architecture: str | ConvNet | MLP = "auto",
    image_shape: tuple[int, ...] | None = None,
    working_memory: float | None = None,
    progress: Callable[[int, int], object] | None = None,
    device: str | torch.device = "auto",
) -> np.ndarray:
    """Neural tangent kernel of an infinitely wide network, all its layers trained.

    %(parameters)s

    See Also
    --------
    nngp_kernel : The kernel of the untrained network.
    rfad_sklearn.KIPDistiller : Distils with this kernel.

    References
    ----------
    Jacot et al. 2018, "Neural Tangent Kernel", eq. 11; Arora et al. 2019, "On Exact Computation
    with an Infinitely Wide Neural Net".

    Examples
    --------
    >>> import numpy as np
    >>> from rfad_sklearn.kernels import ntk_kernel
    >>> rows = np.random.default_rng(0).normal(size=(4, 3))
    >>> ntk_kernel(rows, rows[:2]).shape
    (4, 2)
    """
    return _kernel("ntk", X, Y, architecture, image_shape, working_memory, progress, device)


@own_torch_modes()
def _kernel(kernel, X, Y, architecture, image_shape, working_memory, progress, device):
    if not (architecture == "auto" or isinstance(architecture, ARCHITECTURES)):
        raise TypeError(f"architecture must be 'auto', a ConvNet or an MLP, got {architecture!r}.")
    device = resolve_device(device)
    first, shape = _inputs("X", X, image_shape)
    second, other = (None, shape) if Y is None else _inputs("Y", Y, image_shape)
    if shape != other:
        raise ValueError(
            f"X holds inputs of shape {shape}, Y of shape {other}; both must be the same."
        )
    spec = resolve_architecture(architecture, shape)
    if second is not None and second.dtype != first.dtype:
        first, second = first.astype(np.float64), second.astype(np.float64)
    memory = sklearn.get_config()["working_memory"] if working_memory is None else working_memory
    if not memory > 0:
        raise ValueError(f"working_memory must be above 0 MiB, got {working_memory!r}.")
    with explained_memory(
        f"the kernel of {len(first)} and {len(first if Y is None else second)} inputs",
        "their number",
    ):
        x, y = (
            None if rows is None else torch.tensor(np.ascontiguousarray(rows), device=device)
            for rows in (first, second)
        )
        values = exact_kernel(
            spec, x, y, kernel=kernel, memory=int(memory * 2**20), progress=progress
        )
        return values.cpu().numpy()


def _inputs(name, X, image_shape):
    """Inputs of shape ``(n, *shape)`` in float32 or float64, and that shape."""
    rows, seen = as_rows(X)
    rows = check_array(rows, dtype=[np.float64, np.float32], input_name=name)
    image_shape = resolve_image_shape(image_shape, seen, rows.shape[1])
    shape = image_shape or (rows.shape[1],)
    return rows.reshape(-1, *shape), shape
