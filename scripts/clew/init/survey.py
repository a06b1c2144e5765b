"""What a DVC repository holds, as DVC itself resolves it: no templates are left in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class StageOut:
    path: str  # relative to dvc.yaml, as all paths here
    cached: bool = True
    metric: bool = False
    plot: bool = False


@dataclass(frozen=True)
class SurveyedStage:
    """A stage of dvc.yaml; one that `foreach` or `matrix` repeats is one, with all it touches."""

    name: str
    commands: tuple[str, ...] = ()
    deps: tuple[str, ...] = ()
    outs: tuple[StageOut, ...] = ()
    params: tuple[str, ...] = ()  # the files


@dataclass(frozen=True)
class DvcRemote:
    name: str
    url: str  # without credentials
    verified: bool
    committed: bool  # whether .dvc/config has it, which others get, or a file of one's own


@dataclass(frozen=True)
class Survey:
    """The stages in the order of dvc.yaml, what `dvc add` tracks, and the remotes."""

    stages: tuple[SurveyedStage, ...]
    added: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()  # files that dvc.yaml's `vars` name
    remotes: Mapping[str, DvcRemote] = field(default_factory=dict)
    default_remote: str | None = None
    config: str = ".dvc/config"  # relative to the top of the Git repository

    @property
    def makers(self) -> dict[str, SurveyedStage]:
        """The stage that makes each path."""
        return {out.path: stage for stage in self.stages for out in stage.outs}


def inside(path: str, folder: str) -> bool:
    """Tell whether a path is a folder or lies in it."""
    return path == folder or path.startswith(f"{folder}/")
