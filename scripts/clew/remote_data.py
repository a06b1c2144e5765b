"""Data in the DVC remote: whole and unchanged, brought there from the cache, or refused."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from clew.context import Context
from clew.errors import Unverifiable
from clew.identity import Pointer
from clew.ports import Problem

SHOWN_PROBLEMS = 5


def ensure_in_remote(context: Context, step: str, pointers: Sequence[Pointer]) -> int:
    """Push what only the local cache has; Unverifiable when bytes are missing or wrong."""
    problems = context.store.problems(pointers)
    pushed = 0
    if problems and all(problem.reason == "missing" for problem in problems):
        if context.store.in_cache(pointers):
            context.reporter.step(step, "pushing data that only the local cache has")
            pushed = context.store.push(pointers, partial(context.reporter.progress, "pushed"))
        problems = context.store.problems(pointers)
    if problems:
        raise refusal(context, problems)
    return pushed


def refusal(context: Context, problems: Sequence[Problem]) -> Unverifiable:
    remote = context.store.remote()
    shown = ", ".join(f"{p.path} ({p.reason})" for p in problems[:SHOWN_PROBLEMS])
    more = f" and {len(problems) - SHOWN_PROBLEMS} more" if len(problems) > SHOWN_PROBLEMS else ""
    if all(problem.reason == "missing" for problem in problems):
        return Unverifiable(
            f"data is in neither the cache nor the remote '{remote.name}': {shown}{more}",
            fix="Run `dvc push` where it was created; what stages make, `clew process --force` "
            "makes again.",
        )
    return Unverifiable(
        f"the remote '{remote.name}' ({remote.shown_url}) holds other bytes than Git says: "
        f"{shown}{more}",
        fix="Restore these objects from a backup, or delete them there and run `dvc push` "
        "where the data was created.",
    )
