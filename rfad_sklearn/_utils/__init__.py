"""What needs nothing else of the package: validation, devices, files, rows, labels.

One subject per module.
"""
