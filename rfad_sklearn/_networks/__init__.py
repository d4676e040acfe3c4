"""Finite networks: random features, trained networks, and what changes images at random.

Each is made from a frozen architecture.
"""
