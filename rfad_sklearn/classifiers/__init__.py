"""Classifiers that are fitted on rows or on a coreset."""

from .finite_network import FiniteNetworkClassifier
from .kernel_ridge import NNGPKernelRidge

__all__ = ["FiniteNetworkClassifier", "NNGPKernelRidge"]
