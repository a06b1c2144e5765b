"""The command line: the only place that prints, reads the environment and exits."""

from clew.cli.main import main

__all__ = ["main"]
