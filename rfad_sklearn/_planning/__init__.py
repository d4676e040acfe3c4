"""The plan of a fit: what every "auto" becomes, and why, before the first step.

``resolution`` makes it, by parts that know of pools, memory, depth, flips and clocks.
"""
