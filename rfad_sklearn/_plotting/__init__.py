"""One display per module: coreset, explanation, history; ``figures`` is what they share.

Users import them from :mod:`rfad_sklearn.plotting`.
"""
