"""clew: the thread from a model in production back to the exact data, code and parameters."""

__version__ = "0.1.0"
