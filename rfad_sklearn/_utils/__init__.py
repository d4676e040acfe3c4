"""What needs nothing else of the package: validation, devices, files, rows, labels, values.

One subject per module.
"""
