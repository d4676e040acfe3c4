"""Distillation as optimisation: the loop, its optimisers and checkpoints, and what it minimises.

The loop knows no kernel, no files and no printing.
"""
