"""Distillers: estimators that turn many rows into a few synthetic ones."""

from ._sampler import CoresetSampler
from .kip import KIPDistiller
from .rfad import RFADDistiller

__all__ = ["CoresetSampler", "KIPDistiller", "RFADDistiller"]
