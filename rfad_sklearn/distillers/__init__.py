"""Estimators that turn many rows into a few.

Distillers make synthetic rows, the selector takes real ones.
"""

from ._sampler import CoresetSampler
from .gradient_matching import GradientMatchingDistiller
from .kip import KIPDistiller
from .rfad import RFADDistiller
from .selector import CoresetSelector

__all__ = [
    "CoresetSampler",
    "CoresetSelector",
    "GradientMatchingDistiller",
    "KIPDistiller",
    "RFADDistiller",
]
