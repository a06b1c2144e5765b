"""check: is this repository ready to run, and if not, what is to be done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from clew.context import Context
from clew.errors import ClewError, ConfigError
from clew.preflight import preflight
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
        "clean tree, complete inputs": lambda: _preflight(context, request),
        "DVC remote": lambda: _remote(context),
        "verify = true": lambda: _verify(context),
        "Git remote": lambda: _git_remote(context),
        "history": lambda: _history(context, request),
        "environment": lambda: _environment(context, request),
        "MLflow": lambda: _mlflow(context),
    }
    for name, probe in checks.items():
        try:
            yield CheckResult(name, True, probe())
        except ClewError as error:
            yield CheckResult(name, False, error.what, error.fix)


def _preflight(context: Context, request: RunRequest) -> str:
    preflight(context, request)
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


def _git_remote(context: Context) -> str:
    url = context.project.repository.remote_url()
    if url is None:
        raise ConfigError(
            "there is no Git remote, so no model can be promoted",
            fix="Add one with `git remote add origin URL`.",
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
