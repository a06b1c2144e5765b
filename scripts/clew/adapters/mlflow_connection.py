"""The connection to MLflow: opened once, late and quietly; its errors translated."""

from __future__ import annotations

import fcntl
import functools
import http.client
import logging
import os
import sqlite3
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, ParamSpec

from clew.adapters.translation import translating
from clew.errors import ClewError, OutsideError
from clew.redaction import without_credentials

P = ParamSpec("P")
REACH_SECONDS = 10.0
CONFLICT_ATTEMPTS = 5
SQLITE = "sqlite:///"
SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # Standard output is for the answer.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
LIMITS = {
    # A server that hangs must not hold a run for MLflow's default of many minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}


def _explained(error: Exception, owner: Any) -> ClewError:
    uri = without_credentials(getattr(owner, "uri", ""))
    said = str(error).splitlines()[0] if str(error) else type(error).__name__
    return OutsideError(
        f"MLflow at {uri} failed: {without_credentials(said)}",
        fix="Check that it is up and that you may write to it, then run again.",
    )


translated = translating(_explained)


def repeated(write: Callable[P, None]) -> Callable[P, None]:
    """Decorate what may be written twice: it is tried again where MLflow breaks.

    It does when another process writes the same at the same moment; the next attempt finds it
    written.
    """

    @functools.wraps(write)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        from mlflow.exceptions import MlflowException

        for attempt in range(1, CONFLICT_ATTEMPTS):
            try:
                return write(*args, **kwargs)
            except MlflowException:
                time.sleep(0.1 * attempt)
        return write(*args, **kwargs)

    return wrapper


class Connection:
    """One experiment of an MLflow server or database."""

    def __init__(self, uri: str, experiment: str, artifacts: Path | None) -> None:
        self.uri = uri
        self._name = experiment
        self._artifacts = artifacts  # where a database without a server keeps its artifacts
        self._lock = threading.Lock()
        self._opened: Any = None
        self._experiment: str | None = None

    @property
    def client(self) -> Any:
        return self.open()

    @property
    def experiment(self) -> str:
        """The experiment's id; it is made when there is none."""
        found = self.known_experiment
        return self._made_experiment() if found is None else found

    @property
    def known_experiment(self) -> str | None:
        if self._experiment is None:
            found = self.client.get_experiment_by_name(self._name)
            self._experiment = str(found.experiment_id) if found else None
        return self._experiment

    @property
    def is_new(self) -> bool:
        """Tell whether there is no database yet."""
        return self.uri.startswith(SQLITE) and not Path(self.uri.removeprefix(SQLITE)).exists()

    def open(self) -> Any:
        with self._lock:
            if self._opened is None:
                self._opened = self._connect()
            return self._opened

    def check(self, *, writing: bool = True) -> None:
        """Raise OutsideError unless the tracking URI answers; does not import mlflow."""
        shown = without_credentials(self.uri)
        if not writing and self.is_new:
            raise OutsideError(
                f"there is no MLflow database at {shown}",
                fix="Ask where the runs were made, or set MLFLOW_TRACKING_URI.",
            )
        try:
            if self.uri.startswith(SQLITE):
                self._check_database()
            elif self.uri.startswith(("http://", "https://")):
                url = f"{shown.rstrip('/')}/health"
                urllib.request.urlopen(url, timeout=REACH_SECONDS).close()  # noqa: S310
        except urllib.error.HTTPError:
            return  # it answers; what it refuses is said when it is asked for that
        except (OSError, ValueError, http.client.HTTPException, sqlite3.Error) as error:
            reason = getattr(error, "reason", error)
            raise OutsideError(
                f"MLflow at {shown} can't be reached: {reason}",
                fix="Start it or make it writable, or set mlflow.tracking_uri in pipeline.yaml.",
            ) from error

    def _check_database(self) -> None:
        """Write nothing, but as a writer: MLflow itself retries a bad file for a minute."""
        path = Path(self.uri.removeprefix(SQLITE))
        if self.is_new:
            _refuse_folder(path.parent)
            return
        with closing(sqlite3.connect(path, timeout=REACH_SECONDS)) as database:
            database.execute("BEGIN IMMEDIATE")
            database.execute("SELECT count(*) FROM sqlite_master")
            database.rollback()

    @contextmanager
    def exclusive(self, what: str) -> Iterator[None]:
        """Keep two processes on one embedded store apart; a server's clients go by start time."""
        if self._artifacts is None:
            yield
            return
        self._artifacts.mkdir(parents=True, exist_ok=True)
        with (self._artifacts.parent / f"{what}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _connect(self) -> Any:
        if self.uri.startswith(SQLITE):
            self.check()
        os.environ.update(SETTINGS)
        for name, value in LIMITS.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        # Two processes that make the tables of one new database at once break each other.
        with self.exclusive("open"):
            if self.uri.startswith(SQLITE):
                _make_database(Path(self.uri.removeprefix(SQLITE)))
            return MlflowClient(self.uri, registry_uri=self.uri)

    def _made_experiment(self) -> str:
        from mlflow.exceptions import MlflowException

        location = self._artifacts.as_uri() if self._artifacts else None
        try:
            return str(self.client.create_experiment(self._name, location))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            return str(self.client.get_experiment_by_name(self._name).experiment_id)


def _refuse_folder(folder: Path) -> None:
    """Raise OSError unless a database can be made there."""
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise NotADirectoryError(f"{there} is no folder that can be written to")


def _make_database(path: Path) -> None:
    """Let MLflow make its tables beside, then move them in place: they are there whole or not."""
    if path.exists() and path.stat().st_size:
        return
    from mlflow import MlflowClient

    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    MlflowClient(f"{SQLITE}{draft}").search_experiments(max_results=1)
    draft.replace(path)


def tag_filter(tags: Mapping[str, str]) -> str:
    return " and ".join(f"tags.`{key}` = {literal(value)}" for key, value in tags.items())


def literal(value: str) -> str:
    """Return a value as MLflow's filters read it: they know two quotes and no escapes."""
    if "'" not in value:
        return f"'{value}'"
    if '"' not in value:
        return f'"{value}"'
    raise ValueError(f"MLflow can't look for {value!r}, which has both kinds of quotes")
