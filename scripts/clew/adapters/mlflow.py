"""MLflow: runs, logged models and the model registry, behind `Tracker`.

Importing mlflow takes seconds, so it happens on first use; `warm_up` lets it happen while a job
or Git is at work.
"""

from __future__ import annotations

import fcntl
import functools
import logging
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from clew.errors import ClewError, OutsideError
from clew.identity import RunFingerprint, RunId
from clew.ports import ModelVersion, TrackedDataset, TrackedRun, Tracker

PAGE = 1_000  # MLflow's largest page
BATCH = 100  # params or tags per request
PARAM_CHARACTERS = 6_000
TAG_CHARACTERS = 8_000
REACH_SECONDS = 10.0
CONFLICT_ATTEMPTS = 5
MODEL = "model"  # artifact name of the model in its run

P = ParamSpec("P")
R = TypeVar("R")


def _translated(call: Callable[P, R]) -> Callable[P, R]:
    """Turn whatever MLflow raises into an OutsideError that names the tracking URI."""

    @functools.wraps(call)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return call(*args, **kwargs)
        except ClewError:
            raise
        except Exception as error:
            uri = getattr(args[0], "uri", "")
            said = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise OutsideError(
                f"MLflow at {uri} failed: {said}",
                fix="Check that it is up and that you may write to it, then run again.",
            ) from error

    return wrapper


class MlflowTracker(Tracker):
    """One experiment and one registered model of an MLflow server or database."""

    def __init__(self, uri: str, experiment: str, model: str, artifacts: Path | None) -> None:
        self.uri = uri
        self._experiment_name = experiment
        self._model = model
        self._artifacts = artifacts  # where a database without a server keeps its artifacts
        self._lock = threading.Lock()

    def check(self) -> None:
        """Raise OutsideError unless the tracking URI answers; does not import mlflow."""
        if not self.uri.startswith(("http://", "https://")):
            return
        try:
            urllib.request.urlopen(f"{self.uri}/health", timeout=REACH_SECONDS).close()  # noqa: S310
        except urllib.error.HTTPError:
            return  # it answers; what it refuses is said when it is asked for that
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise OutsideError(
                f"MLflow at {self.uri} can't be reached: {reason}",
                fix="Start it, or set mlflow.tracking_uri in pipeline.yaml.",
            ) from error

    def warm_up(self) -> None:
        """Open MLflow in the background; an error shows when MLflow is really needed."""
        threading.Thread(target=self._warm, daemon=True).start()

    def _warm(self) -> None:
        try:
            self._open()
        except Exception:
            logging.getLogger(__name__).debug("warm-up failed", exc_info=True)

    # --- runs --------------------------------------------------------------------------------

    @_translated
    def claim(self, stage: str, key: str, name: str, tags: Mapping[str, str]) -> RunId:
        identity = {"clew.stage": stage, "clew.key": key}
        with self._exclusive():
            usable = self._usable(identity)
            if usable:
                return usable[0].id
            created = self._client.create_run(
                self._experiment, run_name=name, tags={**tags, **identity}
            )
        winner = self._usable(identity)[0].id
        if winner != created.info.run_id:
            self._client.delete_run(created.info.run_id)
        return winner

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Keep two processes on one embedded store apart; a server's clients go by start time."""
        if self._artifacts is None:
            yield
            return
        with (self._artifacts.parent / "claim.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _usable(self, identity: Mapping[str, str]) -> list[TrackedRun]:
        return [run for run in self.runs(identity) if run.status not in ("FAILED", "KILLED")]

    @_translated
    def runs(self, tags: Mapping[str, str]) -> list[TrackedRun]:
        return list(self._search(_tag_filter(tags)))

    @_translated
    def runs_with_param(self, key: str, value: str) -> list[TrackedRun]:
        return list(self._search(f"params.`{key}` = '{_quoted(value)}'"))

    def _search(self, query: str) -> Iterator[TrackedRun]:
        token: str | None = None
        while True:
            page = self._client.search_runs(
                [self._experiment],
                query,
                max_results=PAGE,
                order_by=["attributes.start_time ASC", "attributes.run_id ASC"],
                page_token=token,
            )
            yield from map(_run, page)
            token = page.token
            if not token:
                return

    @_translated
    def run(self, run_id: RunId) -> TrackedRun | None:
        from mlflow.exceptions import MlflowException

        try:
            found = self._client.get_run(run_id)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        return _run(found) if found.info.lifecycle_stage == "active" else None

    @_translated
    def record(
        self,
        run_id: RunId,
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        metrics: Mapping[str, float] | None = None,
        dataset: TrackedDataset | None = None,
    ) -> None:
        from mlflow.exceptions import MlflowException

        for attempt in range(1, CONFLICT_ATTEMPTS + 1):
            try:
                return self._add(run_id, params or {}, tags or {}, metrics or {}, dataset)
            except MlflowException:
                # MLflow breaks when another process writes the same at the same moment; the
                # next attempt finds it written.
                if attempt == CONFLICT_ATTEMPTS:
                    raise
                time.sleep(0.1 * attempt)

    def _add(
        self,
        run_id: RunId,
        params: Mapping[str, str],
        tags: Mapping[str, str],
        metrics: Mapping[str, float],
        dataset: TrackedDataset | None,
    ) -> None:
        from mlflow.entities import Metric, Param, RunTag
        from mlflow.utils.time import get_current_time_millis

        run = self._client.get_run(run_id)
        new_params = [
            Param(key, value[:PARAM_CHARACTERS])
            for key, value in params.items()
            if key not in run.data.params
        ]
        new_tags = [
            RunTag(key, value[:TAG_CHARACTERS])
            for key, value in tags.items()
            if run.data.tags.get(key) != value[:TAG_CHARACTERS]
        ]
        now = get_current_time_millis()
        new_metrics = [
            Metric(key, value, now, 0)
            for key, value in metrics.items()
            if key not in run.data.metrics
        ]
        for start in range(0, max(len(new_params), len(new_tags), len(new_metrics)), BATCH):
            part = slice(start, start + BATCH)
            self._client.log_batch(
                run_id, metrics=new_metrics[part], params=new_params[part], tags=new_tags[part]
            )
        if dataset and not run.inputs.dataset_inputs:
            self._client.log_inputs(run_id, datasets=[_dataset_input(dataset)])

    @_translated
    def finish(self, run_id: RunId, status: str, reason: str = "") -> None:
        if reason:
            self._client.set_tag(run_id, "clew.failure", reason[:TAG_CHARACTERS])
        if self._client.get_run(run_id).info.status != status:
            self._client.set_terminated(run_id, status)

    @_translated
    def delete_run(self, run_id: RunId) -> None:
        self._client.delete_run(run_id)

    @_translated
    def save_files(self, run_id: RunId, folder: Path, name: str) -> None:
        self._client.log_artifacts(run_id, str(folder), name)

    # --- model registry ----------------------------------------------------------------------

    @_translated
    def create_version(self, run_id: RunId, tags: Mapping[str, str]) -> ModelVersion:
        self._ensure_registered_model()
        source, model_id = self._model_source(run_id)
        created = self._client.create_model_version(
            self._model, source, run_id=run_id, tags=dict(tags), model_id=model_id
        )
        twins = self.versions({"run_fingerprint": tags["run_fingerprint"]})
        first = min(twins, key=lambda version: version.version)
        if first.version != int(created.version):
            # Numbers are given out one by one: whoever has the higher sees the lower.
            self._client.delete_model_version(self._model, created.version)
        return first

    def _model_source(self, run_id: RunId) -> tuple[str, str | None]:
        """Return where the run's model is: its newest logged model, else its artifact."""
        logged = self._client.search_logged_models(
            [self._experiment],
            filter_string=f"source_run_id = '{_quoted(run_id)}'",
            order_by=[{"field_name": "creation_time", "ascending": False}],
        )
        ready = [model for model in logged if str(model.status) == "READY"]
        if ready:
            return ready[0].artifact_location, ready[0].model_id
        if self._client.list_artifacts(run_id, MODEL):
            uri = self._client.get_run(run_id).info.artifact_uri
            return f"{uri}/{MODEL}", None
        raise OutsideError(
            f"MLflow run {run_id} holds no model",
            fix="The train stage must write train.model of pipeline.yaml or log a model.",
        )

    def has_model(self, run_id: RunId) -> bool:
        """Tell whether the run holds a model that can be registered."""
        try:
            _translated(MlflowTracker._model_source)(self, run_id)
        except OutsideError:
            return False
        return True

    def _ensure_registered_model(self) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(self._model)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def version_of(self, fingerprint: RunFingerprint) -> ModelVersion | None:
        versions = self.versions({"run_fingerprint": fingerprint})
        return min(versions, key=lambda version: version.version, default=None)

    @_translated
    def versions(self, tags: Mapping[str, str]) -> list[ModelVersion]:
        query = " and ".join(filter(None, [f"name = '{_quoted(self._model)}'", _tag_filter(tags)]))
        found: list[ModelVersion] = []
        token: str | None = None
        while True:
            page = self._client.search_model_versions(query, max_results=200, page_token=token)
            # Search results leave aliases out, so each version is read again.
            found += [self._whole_version(version) for version in page]
            token = page.token
            if not token:
                return sorted(found, key=lambda version: version.version)

    def _whole_version(self, version: Any) -> ModelVersion:
        return _version(self._client.get_model_version(version.name, str(version.version)))

    @_translated
    def version(self, name: str, version_or_alias: str) -> ModelVersion | None:
        from mlflow.exceptions import MlflowException

        read = (
            self._client.get_model_version
            if version_or_alias.isdigit()
            else self._client.get_model_version_by_alias
        )
        try:
            return _version(read(name, version_or_alias))
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise

    @_translated
    def tag_version(self, version: ModelVersion, tags: Mapping[str, str]) -> None:
        for key, value in tags.items():
            if version.tags.get(key) != value:
                self._client.set_model_version_tag(
                    version.name, str(version.version), key, value[:TAG_CHARACTERS]
                )

    @_translated
    def set_alias(self, alias: str, version: ModelVersion) -> None:
        self._client.set_registered_model_alias(version.name, alias, str(version.version))

    # --- opening -----------------------------------------------------------------------------

    @property
    def _client(self) -> Any:
        return self._open()[0]

    @property
    def _experiment(self) -> str:
        return self._open()[1]

    def _open(self) -> tuple[Any, str]:
        with self._lock:
            if not hasattr(self, "_opened"):
                self._opened = self._connect()
            return self._opened

    def _connect(self) -> tuple[Any, str]:
        if self._artifacts is not None:
            self._artifacts.mkdir(parents=True, exist_ok=True)
        # A server that hangs must not hold a run for MLflow's default of many minutes.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
        from mlflow import MlflowClient

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
        client = MlflowClient(self.uri, registry_uri=self.uri)
        return client, self._experiment_id(client)

    def _experiment_id(self, client: Any) -> str:
        from mlflow.exceptions import MlflowException

        found = client.get_experiment_by_name(self._experiment_name)
        if found is None:
            location = self._artifacts.as_uri() if self._artifacts else None
            try:
                return str(client.create_experiment(self._experiment_name, location))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                found = client.get_experiment_by_name(self._experiment_name)
        return str(found.experiment_id)


def _tag_filter(tags: Mapping[str, str]) -> str:
    return " and ".join(f"tags.`{key}` = '{_quoted(value)}'" for key, value in tags.items())


def _quoted(value: str) -> str:
    return value.replace("'", "''")


def _run(run: Any) -> TrackedRun:
    return TrackedRun(
        id=RunId(run.info.run_id),
        status=run.info.status,
        params=dict(run.data.params),
        tags=dict(run.data.tags),
        metrics=dict(run.data.metrics),
    )


def _version(version: Any) -> ModelVersion:
    return ModelVersion(
        name=version.name,
        version=int(version.version),
        run_id=RunId(version.run_id),
        tags=dict(version.tags),
        aliases=tuple(version.aliases),
    )


def _dataset_input(dataset: TrackedDataset) -> Any:
    import json

    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = json.dumps(dict(dataset.source), sort_keys=True)
    return DatasetInput(
        dataset=Dataset(dataset.name, dataset.digest, source_type="dvc", source=source),
        tags=[InputTag("mlflow.data.context", "training")],
    )
