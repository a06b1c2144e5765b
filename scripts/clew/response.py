"""A run that a machine asked for: as far as it goes now, and what became of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from clew.context import Context
from clew.errors import ClewError, Detached
from clew.evaluate import Evaluation
from clew.flow import Step, run
from clew.identity import CommitSha
from clew.register import Registered
from clew.request import RunRequest
from clew.version import Versioned

Open = Callable[[RunRequest], Context]
S = TypeVar("S", bound=Step)


@dataclass(frozen=True)
class Response:
    """What became of a request, and which commit to report on."""

    request: RunRequest
    why: str = ""  # why nothing ran
    job: str = ""  # the job that goes on without this command
    steps: tuple[Step, ...] = ()
    error: ClewError | None = None

    @property
    def commit(self) -> CommitSha:
        """The commit with the dvc.lock that processing left, or else the one that was asked for."""
        versioned = self.step(Versioned)
        return versioned.resolution.commit if versioned else self.request.commit

    @property
    def refused(self) -> bool:
        evaluation, registered = self.step(Evaluation), self.registered
        withdrawn = registered is not None and registered.withdrawn
        return withdrawn or (evaluation is not None and not evaluation.passed)

    @property
    def registered(self) -> Registered | None:
        return self.step(Registered)

    def step(self, kind: type[S]) -> S | None:
        """Return the result of one kind of step, None where it was not reached."""
        return next((step for step in self.steps if isinstance(step, kind)), None)


def bring(context: Context, request: RunRequest) -> Response:
    """Run a request as far as it goes now; what failed is in the response."""
    # Credentials of a CI system end sooner than jobs do: another run takes this one up again.
    request = replace(request, detach=context.executor.usage is not None)
    steps: list[Step] = []
    try:
        for step in run(context, request):
            steps.append(step)
    except Detached as left:
        return Response(request, job=left.job, steps=tuple(steps))
    except ClewError as error:
        return Response(request, steps=tuple(steps), error=error)
    return Response(request, steps=tuple(steps))
