"""Dataset distillation behind the scikit-learn API: many rows in, a few synthetic ones out."""

from . import kernels
from ._optimization.state import DistillationState
from ._version import __version__
from .architectures import MLP, ConvNet
from .classifiers import FiniteNetworkClassifier, NNGPKernelRidge
from .coreset import Coreset
from .distillers import (
    CoresetSampler,
    CoresetSelector,
    GradientMatchingDistiller,
    KIPDistiller,
    RFADDistiller,
)
from .plotting import CoresetDisplay, ExplanationDisplay, HistoryDisplay
from .preprocessing import (
    ChannelStandardizer,
    InstanceNormalizer,
    QuantileNormalizer,
    RegularizedZCA,
)

__all__ = [
    "MLP",
    "ChannelStandardizer",
    "ConvNet",
    "Coreset",
    "CoresetDisplay",
    "CoresetSampler",
    "CoresetSelector",
    "DistillationState",
    "ExplanationDisplay",
    "FiniteNetworkClassifier",
    "GradientMatchingDistiller",
    "HistoryDisplay",
    "InstanceNormalizer",
    "KIPDistiller",
    "NNGPKernelRidge",
    "QuantileNormalizer",
    "RFADDistiller",
    "RegularizedZCA",
    "__version__",
    "kernels",
]
