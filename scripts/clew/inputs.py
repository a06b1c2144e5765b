"""What stages read: files of the commit, and files that DVC tracks."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from clew.context import Context
from clew.dvcfiles import DEFINITIONS, LOCK, Definitions, Stage, added, definitions
from clew.identity import CommitSha, Pointer


def inputs_of(context: Context, commit: CommitSha, names: Sequence[str]) -> list[str]:
    """Return the paths that a job needs in its bundle to run these stages."""
    stages = definitions(context.read(commit, DEFINITIONS)[0])
    fixed = (DEFINITIONS, LOCK, "params.yaml", *context.pipeline.code.paths)
    return sorted({*fixed, *_all_deps(stages, names)})


def added_inputs(context: Context, commit: CommitSha, names: Sequence[str]) -> list[Pointer]:
    """Return the pointers of what these stages read and `dvc add` put under DVC's control."""
    stages = definitions(context.read(commit, DEFINITIONS)[0])
    wanted = dvc_files(context, commit, _all_deps(stages, names))
    texts = context.read(commit, *wanted) if wanted else []
    found = zip(wanted, texts, strict=True)
    pointers = (added(file.removesuffix(".dvc"), text) for file, text in found if text)
    return [pointer for pointer in pointers if pointer is not None]


def dvc_files(context: Context, commit: CommitSha, deps: Collection[str]) -> list[str]:
    """Return the `*.dvc` files of what these paths are, lie in, or contain."""
    prefix = f"{context.project.folder}/" if context.project.folder else ""
    files = [
        entry.path.removeprefix(prefix)
        for entry in context.project.repository.entries(commit)
        if entry.path.startswith(prefix) and entry.path.endswith(".dvc")
    ]
    return [f for f in files if any(touches(f.removesuffix(".dvc"), dep) for dep in deps)]


def touches(path: str, needed: str) -> bool:
    """Tell whether one of two paths is the other or lies within it."""
    return path == needed or path.startswith(f"{needed}/") or needed.startswith(f"{path}/")


def stages_before(context: Context, commit: CommitSha, names: Sequence[str]) -> list[str]:
    """Return these stages and all that `dvc repro` runs before them."""
    return list(_upstream(definitions(context.read(commit, DEFINITIONS)[0]), names))


def _all_deps(stages: Definitions, names: Sequence[str]) -> set[str]:
    """Return the deps of these stages and of those before them, which `dvc repro` runs too."""
    return {dep for stage in _upstream(stages, names).values() for dep in stage.deps()}


def _upstream(stages: Definitions, names: Sequence[str]) -> dict[str, Stage]:
    todo = [stages.stage(name) for name in names]
    seen: dict[str, Stage] = {}
    while todo:
        stage = todo.pop()
        if stage.name not in seen:
            seen[stage.name] = stage
            todo += [owner[0] for dep in stage.deps() if (owner := stages.owner(dep))]
    return seen
