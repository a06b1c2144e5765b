"""MLflow: runs, logged models and the model registry, behind `Tracker`.

Importing mlflow takes seconds, so it happens on first use; `warm_up` lets it happen while a job
or Git is at work.
"""

from __future__ import annotations

import json
import logging
import math
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from clew.adapters.mlflow_connection import Connection, literal, repeated, tag_filter, translated
from clew.errors import OutsideError
from clew.identity import RunFingerprint, RunId
from clew.ports import ModelVersion, TrackedDataset, TrackedRun, Tracker
from clew.redaction import without_secrets

PAGE = 1_000  # MLflow's largest page
VERSIONS = 200  # of model versions it is smaller
BATCH = 100  # params or tags per request
TAG_CHARACTERS = 8_000
ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
MODEL = "model"  # artifact name of the model in its run


class MlflowTracker(Tracker):
    """One experiment and one registered model of an MLflow server or database."""

    def __init__(self, uri: str, experiment: str, model: str, artifacts: Path | None) -> None:
        self.uri = uri
        self._model = model
        self._connection = Connection(uri, experiment, artifacts)

    @property
    def _client(self) -> Any:
        return self._connection.client

    def check(self, *, writing: bool = True) -> None:
        self._connection.check(writing=writing)

    def is_new(self) -> bool:
        return self._connection.is_new

    def warm_up(self) -> None:
        """Open MLflow in the background; an error shows when MLflow is really needed."""
        threading.Thread(target=self._warm, daemon=True).start()

    def _warm(self) -> None:
        try:
            self._connection.open()
        except Exception:
            logging.getLogger(__name__).debug("warm-up failed", exc_info=True)

    # --- runs --------------------------------------------------------------------------------

    @translated
    def claim(self, stage: str, key: str, name: str, tags: Mapping[str, str]) -> RunId:
        identity = {"clew.stage": stage, "clew.key": key}
        with self._connection.exclusive("claim"):
            usable = self._usable(identity)
            if usable:
                return usable[0].id
            created = self._client.create_run(
                self._connection.experiment, run_name=name, tags={**tags, **identity}
            )
        winner = self._usable(identity)[0].id
        if winner != created.info.run_id:
            self._client.delete_run(created.info.run_id)
        return winner

    def _usable(self, identity: Mapping[str, str]) -> list[TrackedRun]:
        return [run for run in self.runs(identity) if run.status not in ("FAILED", "KILLED")]

    @translated
    def runs(self, tags: Mapping[str, str]) -> list[TrackedRun]:
        return list(self._search(tag_filter(tags)))

    @translated
    def runs_with_param(self, key: str, value: str) -> list[TrackedRun]:
        return list(self._search(f"params.`{key}` = {literal(value)}"))

    def _search(self, query: str) -> Iterator[TrackedRun]:
        experiment = self._connection.known_experiment
        if experiment is not None:
            order = ["attributes.start_time ASC", "attributes.run_id ASC"]
            search = partial(self._client.search_runs, [experiment], query, order_by=order)
            yield from map(_run, _paged(search, PAGE))

    @translated
    def run(self, run_id: RunId) -> TrackedRun | None:
        from mlflow.exceptions import MlflowException

        try:
            found = self._client.get_run(run_id)
        except MlflowException as error:
            if error.error_code in ABSENT:
                return None
            raise
        return _run(found) if found.info.lifecycle_stage == "active" else None

    @translated
    @repeated
    def record(
        self,
        run_id: RunId,
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        metrics: Mapping[str, float] | None = None,
        dataset: TrackedDataset | None = None,
    ) -> None:
        from mlflow.entities import Metric, Param, RunTag
        from mlflow.utils.time import get_current_time_millis

        run = self._client.get_run(run_id)
        new_params = [
            Param(key, value) for key, value in (params or {}).items() if key not in run.data.params
        ]
        new_tags = [
            RunTag(key, value[:TAG_CHARACTERS])
            for key, value in (tags or {}).items()
            if run.data.tags.get(key) != value[:TAG_CHARACTERS]
        ]
        now = get_current_time_millis()
        new_metrics = [
            Metric(key, value, now, self._last_step(run_id, key) if key in run.data.metrics else 0)
            for key, value in (metrics or {}).items()
            if not _same(run.data.metrics.get(key), value)
        ]
        for start in range(0, max(len(new_params), len(new_tags), len(new_metrics)), BATCH):
            part = slice(start, start + BATCH)
            self._client.log_batch(
                run_id, metrics=new_metrics[part], params=new_params[part], tags=new_tags[part]
            )
        known = {item.dataset.digest for item in run.inputs.dataset_inputs}
        if dataset and dataset.digest not in known:
            self._client.log_inputs(run_id, datasets=[_dataset_input(dataset)])

    def _last_step(self, run_id: RunId, key: str) -> int:
        """Return the step at which a value becomes the metric's latest.

        A stage may have logged every epoch; what counts is the figure of the registered model.
        """
        return max(int(one.step) for one in self._client.get_metric_history(run_id, key))

    @translated
    @repeated
    def finish(self, run_id: RunId, status: str, reason: str = "") -> None:
        run = self._client.get_run(run_id)
        if reason:
            said = without_secrets(reason)[:TAG_CHARACTERS]
            self._client.set_tag(run_id, "clew.failure", said)
        elif "clew.failure" in run.data.tags:
            self._client.delete_tag(run_id, "clew.failure")
        if run.info.status != status:
            self._client.set_terminated(run_id, status)

    @translated
    def delete_run(self, run_id: RunId) -> None:
        self._client.delete_run(run_id)

    @translated
    def save_files(self, run_id: RunId, folder: Path, name: str) -> None:
        self._client.log_artifacts(run_id, str(folder), name)

    # --- model registry ----------------------------------------------------------------------

    @translated
    def create_version(self, run_id: RunId, tags: Mapping[str, str]) -> ModelVersion:
        source = self._model_source(run_id)
        if source is None:
            raise OutsideError(
                f"MLflow run {run_id} holds no model",
                fix="The train stage must write train.model of pipeline.yaml or log a model.",
            )
        self._ensure_registered_model()
        location, model_id = source
        created = self._client.create_model_version(
            self._model, location, run_id=run_id, tags=dict(tags), model_id=model_id
        )
        twins = self.versions({"run_fingerprint": tags["run_fingerprint"]})
        first = min(twins, key=lambda version: version.version)
        if first.version != int(created.version):
            # Numbers are given out one by one: whoever has the higher sees the lower.
            self._client.delete_model_version(self._model, created.version)
        return first

    def _model_source(self, run_id: RunId) -> tuple[str, str | None] | None:
        """Return where the run's model is: its newest logged model, else its artifact, if any."""
        info = self._client.get_run(run_id).info
        logged = self._client.search_logged_models(
            [info.experiment_id],
            filter_string=f"source_run_id = {literal(run_id)}",
            order_by=[{"field_name": "creation_time", "ascending": False}],
        )
        ready = [model for model in logged if str(model.status) == "READY"]
        if ready:
            return ready[0].artifact_location, ready[0].model_id
        if self._client.list_artifacts(run_id, MODEL):
            return f"{info.artifact_uri}/{MODEL}", None
        return None

    @translated
    def model_source(self, run_id: RunId) -> str | None:
        from mlflow.exceptions import MlflowException

        try:
            source = self._model_source(run_id)
        except MlflowException as error:
            if error.error_code in ABSENT:
                return None
            raise
        return without_secrets(source[0]) if source else None

    @translated
    def has_model(self, run_id: RunId) -> bool:
        """Tell whether the run holds a model that can be registered."""
        return self._model_source(run_id) is not None

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

    @translated
    def versions(self, tags: Mapping[str, str]) -> list[ModelVersion]:
        query = " and ".join(filter(None, [f"name = {literal(self._model)}", tag_filter(tags)]))
        found = list(_paged(partial(self._client.search_model_versions, query), VERSIONS))
        named = {self._model: self.aliases()} if found else {}
        return sorted((self._version(one, named) for one in found), key=lambda one: one.version)

    @translated
    def every_version(self) -> list[ModelVersion]:
        found = _paged(partial(self._client.search_model_versions, ""), VERSIONS)
        models = _paged(partial(self._client.search_registered_models, ""), PAGE)
        named = {model.name: {a: int(n) for a, n in model.aliases.items()} for model in models}
        return [self._version(one, named) for one in found]

    def _version(
        self, version: Any, named: Mapping[str, Mapping[str, int]] | None = None
    ) -> ModelVersion:
        """Return a model version; search results leave aliases out, so they are `named` apart."""
        source, number = version.source or "", int(version.version)
        if source.startswith("models:"):  # a copy, which keeps its bytes where they were then
            source = self._client.get_model_version_download_uri(version.name, str(number))
        aliases = version.aliases
        if named is not None:
            aliases = [a for a, n in named.get(version.name, {}).items() if n == number]
        return ModelVersion(
            name=version.name,
            version=number,
            run_id=RunId(version.run_id or ""),
            tags=dict(version.tags),
            aliases=tuple(aliases),
            created=(version.creation_timestamp or 0) / 1000,
            source=without_secrets(source),
        )

    @translated
    def version(self, name: str, version_or_alias: str) -> ModelVersion | None:
        from mlflow.exceptions import MlflowException

        read = (
            self._client.get_model_version
            if version_or_alias.isdigit()
            else self._client.get_model_version_by_alias
        )
        try:
            return self._version(read(name, version_or_alias))
        except MlflowException as error:
            if error.error_code in ABSENT:
                return None
            raise

    @translated
    def latest_versions(self, count: int) -> list[ModelVersion]:
        query, order = f"name = {literal(self._model)}", ["version_number DESC"]
        found = self._client.search_model_versions(query, max_results=count, order_by=order)
        return [self._version(version) for version in found]

    @translated
    @repeated
    def tag_version(self, version: ModelVersion, tags: Mapping[str, str]) -> None:
        for key, value in tags.items():
            if version.tags.get(key) != value:
                self._client.set_model_version_tag(
                    version.name, str(version.version), key, value[:TAG_CHARACTERS]
                )

    @translated
    def model_file(self, version: ModelVersion, name: str) -> bytes | None:
        from mlflow.artifacts import download_artifacts, list_artifacts

        if not any(
            item.path.rpartition("/")[2] == name
            for item in list_artifacts(version.uri, tracking_uri=self.uri)
        ):
            return None
        with tempfile.TemporaryDirectory(prefix="clew-") as folder:
            uri = f"{version.uri}/{name}"
            found = download_artifacts(uri, dst_path=folder, tracking_uri=self.uri)
            return Path(found).read_bytes()

    @translated
    def aliases(self) -> dict[str, int]:
        from mlflow.exceptions import MlflowException

        try:
            found = self._client.get_registered_model(self._model).aliases
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return {}
            raise
        return {alias: int(version) for alias, version in found.items()}

    @translated
    @repeated
    def set_alias(self, alias: str, version: ModelVersion) -> None:
        self._client.set_registered_model_alias(version.name, alias, str(version.version))


def _run(run: Any) -> TrackedRun:
    return TrackedRun(
        id=RunId(run.info.run_id),
        status=run.info.status,
        params=dict(run.data.params),
        tags=dict(run.data.tags),
        metrics=dict(run.data.metrics),
        started=(run.info.start_time or 0) / 1000,
    )


def _paged(search: Callable[..., Any], size: int) -> Iterator[Any]:
    """Yield all that a search of MLflow finds, page after page."""
    token: str | None = None
    while True:
        page = search(max_results=size, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _same(known: float | None, value: float) -> bool:
    return known == value or (known is not None and math.isnan(known) and math.isnan(value))


def _dataset_input(dataset: TrackedDataset) -> Any:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = json.dumps(dict(dataset.source), sort_keys=True)
    return DatasetInput(
        dataset=Dataset(dataset.name, dataset.digest, source_type="dvc", source=source),
        tags=[InputTag("mlflow.data.context", "training")],
    )
