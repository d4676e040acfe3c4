"""The version, in the one place that the metadata reads too."""

__version__ = "0.1.0"
