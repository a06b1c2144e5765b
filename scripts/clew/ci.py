"""ci: what clew does for a trigger: a push, a pull request, a dispatch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from clew.changes import own_run, relevant_changes
from clew.context import Context
from clew.errors import ClewError, ConfigError, Detached
from clew.fingerprint import parse_overrides
from clew.flow import Step, run
from clew.identity import CommitSha
from clew.ports import Repository
from clew.reconcile import Open
from clew.request import RunRequest
from clew.trigger.model import Kind, Trigger
from clew.version import Versioned


@dataclass(frozen=True)
class Response:
    """What became of a trigger, and which commit to report on."""

    context: Context
    request: RunRequest
    why: str = ""  # why nothing ran
    job: str = ""  # the job that goes on without this command
    steps: tuple[Step, ...] = ()
    error: ClewError | None = field(default=None, compare=False)

    @property
    def commit(self) -> CommitSha:
        """The commit with the dvc.lock that processing left, or else the one of the trigger."""
        found = [step.resolution.commit for step in self.steps if isinstance(step, Versioned)]
        return found[0] if found else self.request.commit


def respond(repository: Repository, open_at: Open, trigger: Trigger) -> Response:
    """Run what a trigger asks for, if anything; what failed is in the response."""
    request = requested(repository, trigger)
    context = open_at(request)
    if trigger.kind is Kind.PULL_REQUEST:
        return Response(context, request, why="a pull request is reported on, its branch is run")
    if trigger.kind is Kind.PUSH and (why := _nothing_to_do(context, trigger, request.commit)):
        return Response(context, request, why=why)
    # Credentials of a CI system end sooner than jobs do: another run takes this one up again.
    request = replace(request, detach=context.executor.usage is not None)
    steps: list[Step] = []
    try:
        for step in run(context, request):
            steps.append(step)
    except Detached as left:
        return Response(context, request, job=left.job, steps=tuple(steps))
    except ClewError as error:
        return Response(context, request, steps=tuple(steps), error=error)
    return Response(context, request, steps=tuple(steps))


def requested(repository: Repository, trigger: Trigger) -> RunRequest:
    """Return the run that a trigger asks for; ConfigError where it names no commit."""
    inputs = trigger.inputs
    commit, branch = trigger.commit, trigger.branch
    if inputs.ref:
        commit, branch = _named(repository, inputs.ref)
    if commit is None:
        raise ConfigError(
            "the trigger names no commit", fix="Name one: the input ref, or CLEW_REF."
        )
    return RunRequest(
        commit=commit,
        branch=branch,
        trigger=trigger.kind,
        params=parse_overrides(inputs.params),
        actor=trigger.actor,
        reason=inputs.reason,
        executor=inputs.executor,
        instance=inputs.instance,
    )


def _named(repository: Repository, ref: str) -> tuple[CommitSha, str | None]:
    """Return the commit of a branch on the remote, or else of a tag, data version or SHA."""
    name = ref.removeprefix("refs/heads/")
    branches = repository.branches()
    if name in branches:
        return branches[name], name
    return repository.commit(ref), None


def _nothing_to_do(context: Context, trigger: Trigger, commit: CommitSha) -> str:
    """Return why a push needs no run, empty when it needs one."""
    before = trigger.before
    try:
        if before is None or not context.project.repository.facts(before):
            return ""
    except ClewError:
        return ""  # a branch that was rewritten: what it was is gone
    if fingerprint := own_run(context, commit, before):
        return f"{commit[:12]} is clew's own commit, of the run {fingerprint[:12]}"
    if not relevant_changes(context, before, commit):
        return f"nothing that data or model depend on changed since {before[:12]}"
    return ""
