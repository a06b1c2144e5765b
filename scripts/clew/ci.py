"""ci: what clew does for a trigger: a push, a pull request, a dispatch."""

from __future__ import annotations

from clew.changes import own_run, relevant_changes
from clew.context import Context
from clew.errors import ClewError, ConfigError
from clew.fingerprint import parse_overrides
from clew.identity import CommitSha
from clew.repository import Repository
from clew.request import RunRequest
from clew.response import Open, Response, bring
from clew.trigger.model import Kind, Trigger


def respond(repository: Repository, open_at: Open, trigger: Trigger) -> Response:
    """Run what a trigger asks for, if anything; what is wrong in its commit is in the response."""
    request = requested(repository, trigger)
    if trigger.kind is Kind.PULL_REQUEST:
        return Response(request, why="a pull request is reported on, its branch is run")
    try:
        context = open_at(request)
        if trigger.kind is Kind.PUSH and (why := _nothing_to_do(context, trigger, request.commit)):
            return Response(request, why=why)
    except ClewError as error:
        return Response(request, error=error)
    return bring(context, request)


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
    before = trigger.before or _left_from(context, trigger.branch, commit)
    try:
        if before is None or not context.project.repository.facts(before):
            return ""
    except ClewError:
        return ""  # a branch that was rewritten: what it was is gone
    if fingerprint := own_run(context.project.repository, commit, before):
        return f"{commit[:12]} is clew's own commit, of the run {fingerprint[:12]}"
    if not relevant_changes(context, before, commit):
        return f"nothing that data or model depend on changed since {before[:12]}"
    return ""


def _left_from(context: Context, branch: str | None, commit: CommitSha) -> CommitSha | None:
    """Return where a new branch left the promotion branch; None where it is that very one."""
    repository, main = context.project.repository, context.pipeline.promotion.branch
    tip = repository.branches().get(main) if branch != main else None
    return repository.merge_base(tip, commit) if tip else None
