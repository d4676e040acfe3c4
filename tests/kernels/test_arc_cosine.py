"""The arc-cosines compiled, and where no compiler works."""

import pytest
import torch
import torch._inductor.config

from rfad_sklearn._kernels import arc_cosine
from rfad_sklearn._kernels.exact import exact_kernel
from rfad_sklearn._utils.network_spec import ConvNetSpec


def images(rng, n, *shape, dtype=torch.float64):
    return torch.tensor(rng.normal(size=(n, *shape)), dtype=dtype)


@pytest.fixture
def fresh_compiler(monkeypatch):
    """As at the start of a process: nothing compiled, nothing failed."""
    fused = tuple(arc_cosine._Fused(f) for f in (arc_cosine.relu_pool, arc_cosine.relu_pool_vjp))
    monkeypatch.setattr(arc_cosine, "_FUSED", fused)
    monkeypatch.setattr(arc_cosine._Fused, "failed", False)
    return fused


@pytest.mark.slow
def test_compiled_or_not(rng, fresh_compiler):
    x, y = (images(rng, n, 4, 4, 1, dtype=torch.float32) for n in (9, 7))
    results = []
    for compiled in (False, True):
        # Few kinds of call, as each takes seconds to compile.
        deep = exact_kernel(ConvNetSpec(depth=2), x, y, kernel="both", compiled=compiled)
        a = x.clone().requires_grad_()
        nngp, ntk = exact_kernel(ConvNetSpec(depth=1), a, y, kernel="both", compiled=compiled)
        results.append((*deep, nngp, ntk, *torch.autograd.grad((nngp * ntk).sum(), a)))
    for plain, fused in zip(*results, strict=True):
        torch.testing.assert_close(fused, plain, rtol=1e-4, atol=1e-5)
    # They were compiled: nothing fell back to the plain functions.
    for fused in fresh_compiler:
        assert fused.compiled
        assert fused.function not in fused.compiled.values()


@pytest.mark.slow
def test_without_a_compiler_it_warns_once_and_still_works(rng, fresh_compiler):
    x = images(rng, 3, 6, 6, 1).requires_grad_()

    def kernel_and_gradient(compiled):
        values = exact_kernel(ConvNetSpec(depth=2), x, compiled=compiled)
        return values.detach(), torch.autograd.grad(values.sum(), x)[0]

    broken = {"cpp.cxx": ("/no/such/compiler",), "force_disable_caches": True}
    with (
        torch._inductor.config.patch(broken),
        pytest.warns(RuntimeWarning, match="torch.compile failed with .*InvalidCxx") as seen,
    ):
        fallen_back = kernel_and_gradient(compiled=True)
    assert len(seen) == 1
    for values, expected in zip(fallen_back, kernel_and_gradient(compiled=False), strict=True):
        assert torch.equal(values, expected)


def test_where_torch_compile_is_not_supported(rng, fresh_compiler, monkeypatch):
    def unsupported(function, **options):
        raise RuntimeError("torch.compile is not supported on Python 9.9+")

    monkeypatch.setattr(torch, "compile", unsupported)
    x = images(rng, 3, 6, 6, 1)
    with pytest.warns(RuntimeWarning, match="not supported on Python 9.9"):
        values = exact_kernel(ConvNetSpec(depth=2), x, compiled=True)
    assert torch.equal(values, exact_kernel(ConvNetSpec(depth=2), x, compiled=False))


@pytest.mark.parametrize("error", [RuntimeError, KeyError, torch.OutOfMemoryError])
def test_errors_that_are_not_the_compilers_pass_through(rng, fresh_compiler, monkeypatch, error):
    def compile_to_failing(function, **options):
        def fail(*arguments):
            raise error("not the compiler")

        return fail

    monkeypatch.setattr(torch, "compile", compile_to_failing)
    with pytest.raises(error, match="not the compiler"):
        exact_kernel(ConvNetSpec(depth=2), images(rng, 3, 6, 6, 1), compiled=True)
