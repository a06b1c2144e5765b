"""check: is this repository ready to run, and if not, what is to be done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from clew.context import Context
from clew.dvcfiles import NoPointer
from clew.errors import ClewError, ConfigError
from clew.inputs import added_inputs
from clew.preflight import refuse_unsound
from clew.remote_data import refusal
from clew.request import RunRequest
from clew.resolve import pointers_at


@dataclass(frozen=True)
class CheckResult:
    name: str
    passed: bool
    detail: str
    fix: str = ""


def check(context: Context, request: RunRequest) -> Iterator[CheckResult]:
    """Yield each check's result; nothing is changed."""
    checks: dict[str, Callable[[], str]] = {
        "clean tree, complete inputs": lambda: _commit(context, request),
        "DVC remote": lambda: _remote(context),
        "verify = true": lambda: _verify(context),
        "data": lambda: _data(context, request),
        "Git remote": lambda: _git_remote(context, request),
        "history": lambda: _history(context, request),
        "environment": lambda: _environment(context, request),
        "MLflow": lambda: _mlflow(context),
    }
    for name, probe in checks.items():
        try:
            yield CheckResult(name, True, probe())
        except ClewError as error:
            yield CheckResult(name, False, error.what, error.fix)


def _commit(context: Context, request: RunRequest) -> str:
    refuse_unsound(context, request)
    return f"commit {request.commit[:12]}"


def _remote(context: Context) -> str:
    context.store.check_remote()
    return context.store.remote().shown_url


def _verify(context: Context) -> str:
    name = context.store.remote().name
    if not context.store.verifies():
        raise ConfigError(
            f"DVC does not check what it pulls from '{name}': an overwritten object goes unseen",
            fix=f"Run `dvc remote modify {name} verify true` and commit .dvc/config.",
        )
    return f"set for '{name}'"


def _data(context: Context, request: RunRequest) -> str:
    """Look for all that a run would read, as it would: in the remote, then in the cache."""
    pipeline = context.pipeline
    wanted = added_inputs(context, request.commit, pipeline.data.stages)
    with suppress(NoPointer):  # not processed yet
        wanted += pointers_at(context.project, pipeline, request.commit)
    problems = context.store.problems(wanted)
    if problems and not context.store.in_cache(wanted):
        raise refusal(context, problems)
    return "only in the local cache: a run pushes it" if problems else "whole and unchanged"


def _git_remote(context: Context, request: RunRequest) -> str:
    url = context.project.repository.remote_url()
    if url is None:
        raise ConfigError(
            "there is no Git remote, so no model can be promoted",
            fix="Add one with `git remote add origin URL`.",
        )
    if not context.project.repository.on_remote(request.commit):
        raise ConfigError(
            f"{url} does not have the commit {request.commit[:12]}: its model can't be promoted",
            fix="Run `git push`.",
        )
    return url


def _history(context: Context, request: RunRequest) -> str:
    boundary = context.project.repository.shallow_boundary()
    if not boundary:
        return "complete"
    pointers_at(context.project, context.pipeline, request.commit)
    return f"shallow ({len(boundary)} cut off); resolving works by the data version's tag"


def _environment(context: Context, request: RunRequest) -> str:
    lock = context.pipeline.code.lock
    if lock is None:
        raise ConfigError(
            "no lock file stands for the environment, so two environments look like one",
            fix="Name it in code.lock of pipeline.yaml, for example uv.lock.",
        )
    if context.read(request.commit, lock) == [None]:
        raise ConfigError(f"{lock} is not in the commit", fix=f"Run `git add {lock}` and commit.")
    return lock


def _mlflow(context: Context) -> str:
    context.tracker.check()
    return context.tracker.uri
