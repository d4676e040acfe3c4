"""Exact kernels of infinitely wide networks: NNGP and NTK, with gradients.

Arrays in and out are torch tensors; the public functions are in :mod:`rfad_sklearn.kernels`.
"""
