"""What can go wrong, each with its exit code and with what to do next.

The exit codes are a public contract: 1 the answer is no, 2 usage or configuration,
3 evidence is missing or unreadable, 4 an outside system failed and a retry is safe.
"""

from __future__ import annotations


class ClewError(Exception):
    """An expected failure: says what happened and why, and what to do next."""

    exit_code: int = 2

    def __init__(self, what: str, *, fix: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.what}\n  {self.fix}" if self.fix else self.what


class ConfigError(ClewError):
    """The command line, pipeline.yaml, dvc.yaml or the state of the repository is not usable."""

    exit_code = 2


class Unverifiable(ClewError):
    """Evidence is missing, unreadable or contradicts itself."""

    exit_code = 3


class OutsideError(ClewError):
    """Git, DVC, an executor or MLflow failed; running the same command again is safe."""

    exit_code = 4


class JobFailed(OutsideError):
    """A job ended without a result."""

    told_before = False  # an earlier command said so already


class OverBudget(ClewError):
    """A job was not started because it could cost more than may be spent."""

    exit_code = 1


class NotLive(ClewError):
    """A model may not go live, or failed there; what was live before still is."""

    exit_code = 1


class Withdrawn(ClewError):
    """Data holds records of subjects who do not agree."""

    exit_code = 1


class Detached(ClewError):
    """A job goes on without this command, which was asked not to wait, or to end."""

    def __init__(self, job: str, *, interrupted: bool = False) -> None:
        fix = f"Continue with the same command again, or follow it with `clew wait {job}`."
        super().__init__(f"the job {job} goes on", fix=fix)
        self.job = job
        self.exit_code = 130 if interrupted else 0
