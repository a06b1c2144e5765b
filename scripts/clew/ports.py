"""What clew needs of the outside world: one interface per outside system.

Adapters implement these and translate every foreign exception into a `ClewError`; the core never
sees a subprocess, a DVC or an MLflow exception.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from clew.identity import Pointer, RunFingerprint, RunId
from clew.redaction import without_secrets

if TYPE_CHECKING:
    from clew.prices import Usage


class Reporter(Protocol):
    """Says how far a step has come: a progress display on a terminal, plain lines in CI."""

    def step(self, name: str, message: str) -> None: ...

    def line(self, text: str) -> None:
        """Show one line that a job printed."""

    def progress(self, verb: str, done: int, total: int, what: str = "files") -> None:
        """Show how many of how many files were, say, pushed."""

    def confirm(self, question: str) -> bool:  # noqa: ARG002
        """Ask whoever is at the terminal; False where nobody is."""
        return False


# --- DVC -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Problem:
    """Why one file of a data version can't be had."""

    path: str
    reason: str  # missing | corrupt | truncated


@dataclass(frozen=True)
class RemoteConfig:
    """A DVC remote as a job needs it, found from anywhere on the machine."""

    name: str
    url: str  # may hold credentials
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def shown_url(self) -> str:
        return without_secrets(self.url)


class DataStore(Protocol):
    """DVC's cache and remote."""

    def remote(self) -> RemoteConfig: ...

    def check_remote(self) -> None:
        """Raise OutsideError unless the remote can be reached."""

    def verifies(self) -> bool:
        """Tell whether DVC checks what it pulls from the remote (`verify = true`)."""

    def stale_stages(self, source: Path, stages: Sequence[str]) -> list[str]:
        """Return the stages, and those before them, whose dvc.lock entry is not of their inputs."""

    def problems(self, pointers: Sequence[Pointer]) -> list[Problem]:
        """Return what the remote lacks or holds with other bytes than the pointers say."""

    def modified(self, pointers: Sequence[Pointer]) -> list[str]:
        """Return which paths of the working tree hold something else than the pointers say."""

    def in_cache(self, pointers: Sequence[Pointer]) -> bool:
        """Tell whether the local cache holds every object of the pointers."""

    def files(self, pointer: Pointer) -> dict[str, str]:
        """Return the md5 of each file of a pointer by its path; Unverifiable when it is lost."""

    def read(self, hash_name: str, md5: str, path: str) -> bytes:
        """Return a file's verified bytes from cache or remote; Unverifiable when it is lost."""

    def sizes(self, hash_name: str, md5s: Iterable[str]) -> dict[str, int]:
        """Return the bytes of each of these objects that cache or remote can tell."""

    def push(self, pointers: Sequence[Pointer], on_progress: Callable[[int, int], None]) -> int:
        """Copy what the remote lacks from the cache; return how many objects that were.

        `on_progress` is told how many are done of how many. ConfigError names what the cache lacks.
        """


# --- Executors -------------------------------------------------------------------------------


class JobStatus(Enum):
    """SageMaker's own words for the state of a job."""

    IN_PROGRESS = "InProgress"
    COMPLETED = "Completed"
    FAILED = "Failed"
    STOPPED = "Stopped"


@dataclass(frozen=True)
class JobSpec:
    """Everything a job is: the same spec is the same job on any executor."""

    name: str
    bundle: Path  # tar file of the exact commit
    bundle_sha256: str
    workdir: str  # pipeline.yaml's folder inside the bundle
    stages: tuple[str, ...]  # dvc.yaml stages to reproduce, in order
    remote: RemoteConfig
    pull: tuple[str, ...] = ()  # DVC-tracked paths to bring and verify first
    push: tuple[str, ...] = ()  # paths to push afterwards
    force: bool = False  # run the stages even if DVC holds their result already
    params: Mapping[str, Any] = field(default_factory=dict)  # overrides of params.yaml
    hyperparameters: Mapping[str, str] = field(default_factory=dict)  # as SageMaker shows them
    environment: Mapping[str, str] = field(default_factory=dict)
    channels: Mapping[str, str] = field(default_factory=dict)  # SM_CHANNEL_<NAME> -> path
    model: str | None = None  # directory to hand back as the model
    collect: tuple[str, ...] = ()  # small files to hand back
    checkpoints: str = ""  # the attempt whose checkpoints it goes on from
    max_seconds: int = 86_400
    tags: Mapping[str, str] = field(default_factory=dict)  # where the executor's jobs can have some


@dataclass(frozen=True)
class Job:
    """One Processing or Training job as its executor describes it."""

    name: str
    status: JobStatus
    environment: Mapping[str, str]
    reason: str = ""  # SageMaker's FailureReason
    seconds: float = 0.0
    output: Path | None = None  # the collected files, when Completed
    pushed: int = 0  # files whose bytes were new to the DVC remote
    reused: int = 0  # files whose bytes it had already
    arn: str = ""  # where jobs have one
    billable_seconds: float | None = None  # what the executor charges for each instance
    spot: bool = False
    cost_usd: float | None = None  # None where nothing is charged or the price is unknown
    no_capacity: bool = False  # it never began: the executor had no machine for it


class JobExists(Exception):
    """The executor has a job of this name already: whoever asks second attaches to it."""


class Executor(Protocol):
    """Where jobs run."""

    name: str
    usage: Usage | None = None  # where jobs cost money

    def submit(self, spec: JobSpec) -> None:
        """Start the job; JobExists when its name is taken."""

    def find(self, name: str) -> Job | None: ...

    def wait(self, name: str, on_line: Callable[[str], None]) -> Job:
        """Follow the job until it has ended."""

    def follow(self, names: Sequence[str], on_line: Callable[[str], None]) -> list[Job]:
        """Watch jobs to their ends; nothing that happens here, Ctrl-C least, stops one."""
        return [self.wait(name, on_line) for name in names]

    def stop(self, name: str) -> None:
        """Stop the job and wait for its end; nothing happens where there is none to stop."""

    def model(self, name: str) -> Path:
        """Return the folder of the model that a completed job made."""


# --- MLflow ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrackedRun:
    id: RunId
    status: str  # MLflow's RunStatus: RUNNING, FINISHED, FAILED, KILLED
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    started: float = 0.0  # seconds since 1970


@dataclass(frozen=True)
class TrackedDataset:
    """The data version as an MLflow dataset input of source type `dvc`."""

    name: str
    digest: str  # at most 36 characters
    source: Mapping[str, str]


@dataclass(frozen=True)
class ModelVersion:
    name: str
    version: int
    run_id: RunId
    tags: Mapping[str, str]
    aliases: tuple[str, ...] = ()
    created: float = 0.0  # seconds since 1970, by MLflow's clock
    source: str = ""  # where its bytes are, without credentials; of a copy, where they really are

    @property
    def uri(self) -> str:
        return f"models:/{self.name}/{self.version}"


class Tracker(Protocol):
    """MLflow: runs and the model registry."""

    uri: str

    def check(self, *, writing: bool = True) -> None:
        """Raise OutsideError unless MLflow can be reached, and for reading holds anything."""

    def is_new(self) -> bool:
        """Tell whether there is no store yet; the first run makes it."""

    def warm_up(self) -> None:
        """Get ready in the background for what is asked next."""

    def claim(self, stage: str, key: str, name: str, tags: Mapping[str, str]) -> RunId:
        """Return the open run of this stage and key, created if there is none.

        Of two that are created at once the earlier stays and the later is deleted.
        """

    def runs(self, tags: Mapping[str, str]) -> list[TrackedRun]:
        """Return all runs of the experiment with these tags, the oldest first."""

    def runs_with_param(self, key: str, value: str) -> list[TrackedRun]: ...

    def run(self, run_id: RunId) -> TrackedRun | None: ...

    def record(
        self,
        run_id: RunId,
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        metrics: Mapping[str, float] | None = None,
        dataset: TrackedDataset | None = None,
    ) -> None:
        """Add to a run what it does not have yet; writing the same twice changes nothing."""

    def finish(self, run_id: RunId, status: str, reason: str = "") -> None: ...

    def delete_run(self, run_id: RunId) -> None: ...

    def save_files(self, run_id: RunId, folder: Path, name: str) -> None:
        """Store a folder as the run's artifacts under this name."""

    def has_model(self, run_id: RunId) -> bool:
        """Tell whether the run holds a model that can be registered."""

    def model_source(self, run_id: RunId) -> str | None:
        """Return where the run's model is, in the words of `ModelVersion.source`, if it has one."""

    def create_version(self, run_id: RunId, tags: Mapping[str, str]) -> ModelVersion:
        """Register the run's logged model; of two for one run fingerprint the later is removed."""

    def version_of(self, fingerprint: RunFingerprint) -> ModelVersion | None: ...

    def version(self, name: str, version_or_alias: str) -> ModelVersion | None: ...

    def versions(self, tags: Mapping[str, str]) -> list[ModelVersion]: ...

    def every_version(self) -> list[ModelVersion]:
        """Return all versions of all registered models, this pipeline's or not."""

    def latest_versions(self, count: int) -> list[ModelVersion]:
        """Return the last so many versions of the model, the newest first, without aliases."""

    def tag_version(self, version: ModelVersion, tags: Mapping[str, str]) -> None: ...

    def model_file(self, version: ModelVersion, name: str) -> bytes | None:
        """Return a file of a model version's artifacts, None where it has no such file."""

    def aliases(self) -> Mapping[str, int]:
        """Return the model's aliases with their versions; none where there is no model yet."""

    def set_alias(self, alias: str, version: ModelVersion) -> None: ...
