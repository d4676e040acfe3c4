"""Whether a kernel is computed exactly or estimated by random features."""

from .._kernels.pixel_pairs import n_arc_cosines
from .._utils.network_spec import MLPSpec

# Rows of an exact kernel matrix that fits twice in the memory of a laptop.
_MOST_EXACT_ROWS = 5000
# Arc-cosines per predicted row up to which a ConvNet's exact kernel pays: 16 images of 28x28.
_MOST_ARC_COSINES = 2e6


def select_kernel_method(kernel_method, kernel, spec, shape, n):
    """How to compute the kernel of n rows.

    Parameters
    ----------
    kernel_method : {"auto", "exact", "random_features"}
    kernel : {"nngp", "ntk"}
    spec : ConvNetSpec or MLPSpec
    shape : tuple of int
        Of one input.
    n : int

    Returns
    -------
    kernel_method : {"exact", "random_features"}
    why : str or None
        None where the parameter gave it.

    Raises
    ------
    ValueError
        For random features of the NTK, which has none here.
    """
    if kernel_method == "random_features" and kernel == "ntk":
        raise ValueError(
            "kernel='ntk' has no random features here; use kernel_method='exact', or kernel='nngp'."
        )
    if kernel_method != "auto":
        return kernel_method, None
    if kernel == "ntk":
        return "exact", "the NTK has no random features here"
    if isinstance(spec, MLPSpec):
        if n <= _MOST_EXACT_ROWS:
            return "exact", f"an MLP and at most {_MOST_EXACT_ROWS:,} rows"
        return "random_features", f"more than {_MOST_EXACT_ROWS:,} rows"
    if n * n_arc_cosines(spec, shape) <= _MOST_ARC_COSINES:
        return "exact", "few and small images: at most 2 million arc-cosines per predicted row"
    return "random_features", "the exact kernel would take over 2 million arc-cosines per row"
