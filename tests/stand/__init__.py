"""The stand: a local rehearsal of AWS, MLflow and Git hosting for tests, see README.md here."""

from tests.stand.stand import Stand

__all__ = ["Stand"]
