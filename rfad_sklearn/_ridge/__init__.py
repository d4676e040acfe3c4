"""Kernel ridge regression: its linear algebra, its models of rows, and the best targets.

Everything is solved in float64.
"""
