"""What users import: names, modules, documentation and type hints."""

import importlib
import inspect

import pytest

import rfad_sklearn

MODULES = {
    "architectures": {"ConvNet", "MLP"},
    "classifiers": {"FiniteNetworkClassifier", "NNGPKernelRidge"},
    "coreset": {"Coreset"},
    "datasets": {"load_digits_images"},
    "distillers": {
        "CoresetSampler",
        "CoresetSelector",
        "GradientMatchingDistiller",
        "KIPDistiller",
        "RFADDistiller",
    },
    "kernels": {"nngp_kernel", "ntk_kernel"},
    "plotting": {"CoresetDisplay", "ExplanationDisplay", "HistoryDisplay"},
    "preprocessing": {
        "ChannelStandardizer",
        "InstanceNormalizer",
        "QuantileNormalizer",
        "RegularizedZCA",
    },
}
TOP = set().union(*MODULES.values(), {"DistillationState", "kernels", "__version__"}) - {
    "load_digits_images",
    "nngp_kernel",
    "ntk_kernel",
}
DOCUMENTED = sorted(
    {
        getattr(importlib.import_module(f"rfad_sklearn.{module}"), name)
        for module, names in MODULES.items()
        for name in names
    },
    key=lambda documented: documented.__name__,
)


def own_methods(cls):
    """Public methods and properties of a class that this package defines."""
    for name in dir(cls):
        member = inspect.getattr_static(cls, name)
        function = getattr(member, "fget", None) or getattr(member, "__func__", member)
        if name.startswith("_") or not inspect.isfunction(function):
            continue
        if inspect.unwrap(function).__module__.startswith("rfad_sklearn"):
            yield name, inspect.unwrap(function)


def test_the_top_level_has_these_names_and_no_others():
    assert set(rfad_sklearn.__all__) == TOP
    assert all(hasattr(rfad_sklearn, name) for name in TOP)


@pytest.mark.parametrize("module", MODULES)
def test_public_modules_say_what_they_hold(module):
    loaded = importlib.import_module(f"rfad_sklearn.{module}")
    assert set(loaded.__all__) == MODULES[module]
    for name in MODULES[module] & TOP:
        assert getattr(loaded, name) is getattr(rfad_sklearn, name)


@pytest.mark.parametrize("documented", DOCUMENTED, ids=lambda documented: documented.__name__)
def test_everything_public_is_documented_with_an_example(documented):
    documentation = inspect.getdoc(documented)
    # No passage is left to be put in.
    assert "%(" not in documentation
    assert "Examples\n--------" in documentation or hasattr(documented, "from_estimator")
    if inspect.isclass(documented):
        for name in inspect.signature(documented).parameters:
            assert f"{name} : " in documentation or f"{name}, " in documentation, name
        for name, method in own_methods(documented):
            assert inspect.getdoc(method), name


@pytest.mark.parametrize(
    "cls", [each for each in DOCUMENTED if inspect.isclass(each)], ids=lambda cls: cls.__name__
)
def test_public_methods_have_type_hints(cls):
    for name, method in own_methods(cls):
        signature = inspect.signature(method)
        assert signature.return_annotation is not inspect.Signature.empty, name
        for parameter in list(signature.parameters.values())[1:]:
            assert parameter.annotation is not inspect.Parameter.empty, (name, parameter.name)
