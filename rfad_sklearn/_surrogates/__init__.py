"""Cheap, differentiable models fitted on items, whose losses on rows make items for any model.

Kernel machines, nearest neighbours, soft trees, an unrolled network, and single columns.
"""
