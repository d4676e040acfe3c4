"""Distillers: estimators that turn many rows into a few synthetic ones."""

from ._sampler import CoresetSampler
from .rfad import RFADDistiller

__all__ = ["CoresetSampler", "RFADDistiller"]
