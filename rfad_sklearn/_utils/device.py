"""Devices and number types by name, errors of memory, and torch modes of the calling program."""

from contextlib import ExitStack, contextmanager

import torch

# Words of allocators: not every error that has to do with memory is for want of it.
_OUT_OF_MEMORY = ("out of memory", "not enough memory", "allocate memory")
_DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}


def resolve_device(device):
    """``torch.device`` of a user's ``device``; "auto" is CUDA when there is one, else the CPU.

    Raises
    ------
    ValueError
        When there is no such device here, or it cannot hold float64.
    """
    if isinstance(device, str) and device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
        # Some cannot hold float64, in which every kernel ridge is solved.
        torch.empty(0, dtype=torch.float64, device=resolved)
    except (RuntimeError, TypeError, AssertionError, NotImplementedError) as error:
        raise ValueError(
            f"device={device!r} is not available here ({str(error).splitlines()[0]}); use 'auto', "
            "'cpu' or the name of a device that torch can reach."
        ) from error
    if resolved.type == "meta":
        raise ValueError("device='meta' cannot hold data; use 'auto', 'cpu' or 'cuda'.")
    return resolved


def is_out_of_memory(error):
    """Whether an exception is an allocator's."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _OUT_OF_MEMORY)
    )


@contextmanager
def explained_memory(what, lower):
    """Name the parameters to lower when ``what`` does not fit in memory: torch names sizes only."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise MemoryError(f"Not enough memory for {what}; lower {lower}.") from error
        raise


@contextmanager
def own_torch_modes():
    """Shield a block from modes that the program has set for its own tensors.

    They are the default device, ``no_grad``, inference mode and autocast.
    """
    with ExitStack() as stack:
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        stack.enter_context(torch.enable_grad())
        yield


def has_fast_bfloat16(device):
    """Whether the hardware multiplies bfloat16 matrices faster than float32 ones."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    # Older versions of torch do not tell; float32 is right everywhere.
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def resolve_dtype(dtype, device, *, reduced=False):
    """``torch.dtype`` of a user's ``dtype``.

    ``"auto"`` is float32, or bfloat16 when ``reduced`` precision is welcome and the device is fast
    at it.
    """
    if dtype == "auto":
        return torch.bfloat16 if reduced and has_fast_bfloat16(device) else torch.float32
    name = str(dtype).removeprefix("torch.")
    if name not in _DTYPES:
        raise ValueError(
            f"dtype={dtype!r} is unknown; use 'auto', {', '.join(map(repr, _DTYPES))}."
        )
    return _DTYPES[name]
