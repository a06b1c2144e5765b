"""The MLflow adapter, with a real SQLite store that the whole module shares."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from clew.adapters import mlflow as adapter
from clew.adapters.mlflow import MlflowTracker
from clew.errors import OutsideError
from clew.identity import RunFingerprint, RunId
from clew.ports import TrackedDataset

BOTH = """\
import sys, time
from pathlib import Path
from clew.adapters.mlflow import MlflowTracker
uri, artifacts, start = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
tracker = MlflowTracker(uri, "experiment", "it's a model", artifacts)
tracker.runs({"none": "none"})
Path(f"{start}-{sys.argv[4]}").touch()
while not start.exists():
    time.sleep(0.001)
"""
CLAIM = BOTH + 'print(tracker.claim("train", sys.argv[5], "n", {}))\n'
VERSION = BOTH + (
    'print(tracker.create_version(sys.argv[5], {"run_fingerprint": sys.argv[5]}).version)\n'
)

SAME = (
    BOTH
    + """\
version = tracker.versions({"run_fingerprint": sys.argv[5]})[0]
for number in range(40):
    tracker.set_alias(f"alias-{number}", version)
    tracker.tag_version(version, {f"tag-{number}": "same"})
print("done")
"""
)


class Store:
    def __init__(self, folder: Path) -> None:
        self.uri = f"sqlite:///{folder}/mlflow.db"
        self.artifacts = folder / "artifacts"
        self.tracker = MlflowTracker(self.uri, "experiment", "it's a model", self.artifacts)

    def both(self, tmp_path: Path, code: str, argument: str) -> list[str]:
        """Return what two processes print that do the same at the same moment."""
        start = tmp_path / "start"
        fixed = [sys.executable, "-c", code, self.uri, str(self.artifacts), str(start)]
        processes = [
            subprocess.Popen(
                [*fixed, str(number), argument],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for number in range(2)
        ]
        while not all(Path(f"{start}-{number}").exists() for number in range(2)):
            assert all(process.poll() is None for process in processes)
            time.sleep(0.01)
        start.touch()
        return [process.communicate(timeout=20)[0].strip() for process in processes]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("mlflow"))


@pytest.fixture(scope="module")
def tracker(store: Store) -> MlflowTracker:
    return store.tracker


@pytest.fixture
def key() -> str:
    """Return a key that no other test has."""
    return uuid.uuid4().hex


@pytest.fixture
def run_id(tracker: MlflowTracker, key: str) -> RunId:
    return tracker.claim("train", key, f"train-{key}", {"clew.trigger": "local"})


def with_model(tracker: MlflowTracker, run_id: RunId, folder: Path) -> RunId:
    folder.mkdir()
    (folder / "MLmodel").write_text("flavors: {}\n")
    tracker.save_files(run_id, folder, "model")
    return run_id


def client(tracker: MlflowTracker) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracker.uri)


# --- runs ----------------------------------------------------------------------------------------


def test_a_claim_is_found_again(tracker: MlflowTracker, key: str, run_id: RunId) -> None:
    assert tracker.claim("train", key, "another name", {}) == run_id
    assert tracker.claim("evaluate", key, "n", {}) != run_id
    run = tracker.run(run_id)
    assert run is not None
    assert run.status == "RUNNING"
    assert run.tags["clew.stage"] == "train"
    assert run.tags["clew.key"] == key
    assert run.tags["clew.trigger"] == "local"


@pytest.mark.parametrize("status", ["FAILED", "KILLED"])
def test_a_failed_run_is_not_claimed_again(
    tracker: MlflowTracker, key: str, run_id: RunId, status: str
) -> None:
    tracker.finish(run_id, status, "out of memory")
    run = tracker.run(run_id)
    assert run is not None
    assert (run.status, run.tags["clew.failure"]) == (status, "out of memory")
    second = tracker.claim("train", key, "n", {})
    assert second != run_id
    assert [one.id for one in tracker.runs({"clew.key": key})] == [run_id, second]


def test_a_finished_run_is_claimed_again(tracker: MlflowTracker, key: str, run_id: RunId) -> None:
    tracker.finish(run_id, "FINISHED")
    assert tracker.claim("train", key, "n", {}) == run_id


def test_two_claims_at_once_make_one_run(store: Store, key: str, tmp_path: Path) -> None:
    first, second = store.both(tmp_path, CLAIM, key)
    assert first == second
    assert [run.id for run in store.tracker.runs({"clew.key": key})] == [first]


def test_recording_twice_changes_nothing(tracker: MlflowTracker, run_id: RunId) -> None:
    params = {f"p.{number}": str(number) for number in range(250)} | {"long": "x" * 9_000}
    tags = {f"t.{number}": str(number) for number in range(120)}
    metrics = {"accuracy": 0.75, "loss": float("nan")}
    dataset = TrackedDataset("data/x/1", "d" * 36, SOURCE)
    for _ in range(2):
        tracker.record(run_id, params=params, tags=tags, metrics=metrics, dataset=dataset)
    run = tracker.run(run_id)
    assert run is not None
    assert run.params == {**params, "long": "x" * 6_000}
    assert tags.items() <= run.tags.items()
    assert run.metrics["accuracy"] == 0.75
    assert len(client(tracker).get_metric_history(run_id, "accuracy")) == 1
    assert len(client(tracker).get_metric_history(run_id, "loss")) == 1
    assert len(client(tracker).get_run(run_id).inputs.dataset_inputs) == 1


def test_the_figure_of_the_registered_model_is_the_runs_metric(
    tracker: MlflowTracker, run_id: RunId
) -> None:
    for step, value in enumerate([0.5, 0.9, 0.6]):
        client(tracker).log_metric(run_id, "accuracy", value, step=step)
    for _ in range(2):
        tracker.record(run_id, metrics={"accuracy": 0.9})
    run = tracker.run(run_id)
    assert run is not None
    assert run.metrics == {"accuracy": 0.9}
    assert len(client(tracker).get_metric_history(run_id, "accuracy")) == 4


def test_params_stay_as_they_were_and_tags_follow(tracker: MlflowTracker, run_id: RunId) -> None:
    tracker.record(run_id, params={"a": "1"}, tags={"t": "1"})
    tracker.record(run_id, params={"a": "2", "b": "3"}, tags={"t": "2"})
    run = tracker.run(run_id)
    assert run is not None
    assert run.params == {"a": "1", "b": "3"}
    assert run.tags["t"] == "2"


SOURCE = {"url": "/repo", "rev": "a" * 40, "paths": "data 'with space'", "remote": "/storage"}


def test_the_dataset_resolves_to_where_its_bytes_are(tracker: MlflowTracker, run_id: RunId) -> None:
    import mlflow.data

    from clew.adapters.dvc_source import DvcDatasetSource

    other = TrackedDataset("other", "o" * 36, SOURCE)
    tracker.record(run_id, dataset=other)
    tracker.record(run_id, dataset=TrackedDataset("data/x/1", "d" * 36, SOURCE))
    inputs = client(tracker).get_run(run_id).inputs.dataset_inputs
    found = {one.dataset.name: one for one in inputs}
    assert set(found) == {"other", "data/x/1"}, "a stage's own input does not hide the lineage"
    assert found["data/x/1"].dataset.source_type == "dvc"
    source = mlflow.data.get_source(found["data/x/1"])
    assert isinstance(source, DvcDatasetSource)
    assert source.to_dict() == SOURCE


def test_the_dataset_source_loads_the_data(tmp_path: Path) -> None:
    from clew.adapters.dvc_source import DvcDatasetSource

    repo = tmp_path / "repo"
    (repo / "my data").mkdir(parents=True)
    (repo / "my data/x").write_text("bytes")
    for command in (
        ["git", "init", "-q"],
        [sys.executable, "-m", "dvc", "init", "-q"],
        ["git", "add", "-A"],
        ["git", "-c", "user.name=T", "-c", "user.email=t@e.org", "commit", "-qm", "x"],
    ):
        subprocess.run(command, cwd=repo, check=True)
    source = DvcDatasetSource(str(repo), "HEAD", "'my data' .dvcignore", "")
    folder = source.load(str(tmp_path / "there"))
    assert (Path(folder) / "my data/x").read_text() == "bytes"
    assert (Path(folder) / ".dvcignore").exists()


def test_a_deleted_run_is_gone(tracker: MlflowTracker, key: str, run_id: RunId) -> None:
    tracker.delete_run(run_id)
    assert tracker.run(run_id) is None
    assert tracker.runs({"clew.key": key}) == []
    assert tracker.run(RunId("0" * 32)) is None
    assert tracker.run(RunId("no such run")) is None


def test_runs_are_found_beyond_one_page(
    tracker: MlflowTracker, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "PAGE", 2)
    made = [tracker.claim(f"stage-{number}", key, "n", {}) for number in range(5)]
    for run_id in made:
        tracker.record(run_id, params={"shared": key})
    assert [run.id for run in tracker.runs({"clew.key": key})] == made
    assert [run.id for run in tracker.runs_with_param("shared", key)] == made


@pytest.mark.parametrize("value", ["it's", 'say "so"', "x' or tags.`clew.stage` = 'train"])
def test_quotes_break_no_filter(tracker: MlflowTracker, run_id: RunId, value: str) -> None:
    tracker.record(run_id, tags={"note": value}, params={"note": value})
    assert run_id in [run.id for run in tracker.runs({"note": value})]
    assert all(run.tags["note"] == value for run in tracker.runs({"note": value}))
    assert run_id in [run.id for run in tracker.runs_with_param("note", value)]


def test_a_value_that_no_filter_can_hold_is_an_error(tracker: MlflowTracker) -> None:
    with pytest.raises(OutsideError, match="both kinds of quotes"):
        tracker.runs({"note": "'\""})


# --- model registry ------------------------------------------------------------------------------


def test_a_version_has_its_tags_and_aliases(
    tracker: MlflowTracker, key: str, run_id: RunId, tmp_path: Path
) -> None:
    assert tracker.version_of(RunFingerprint(key)) is None
    assert not tracker.has_model(run_id)
    with pytest.raises(OutsideError, match="holds no model"):
        tracker.create_version(run_id, {"run_fingerprint": key})
    with_model(tracker, run_id, tmp_path / "m")
    assert tracker.has_model(run_id)
    made = tracker.create_version(run_id, {"run_fingerprint": key, "clew.gate": "PASS"})
    assert (made.name, made.run_id) == ("it's a model", run_id)
    assert made.tags == {"run_fingerprint": key, "clew.gate": "PASS"}

    tracker.set_alias("champion", made)
    tracker.tag_version(made, {"clew.gate": "FAIL"})
    found = tracker.version_of(RunFingerprint(key))
    assert found is not None
    assert found == tracker.version(made.name, str(made.version))
    assert found == tracker.version(made.name, "champion")
    assert found.aliases == ("champion",)
    assert found.tags["clew.gate"] == "FAIL"
    assert tracker.versions({"run_fingerprint": key}) == [found]


@pytest.mark.parametrize(
    ("name", "which"),
    [("it's a model", "9999"), ("it's a model", "nobody"), ("unknown", "1"), ("unknown", "prod")],
)
def test_a_version_that_is_not_there(tracker: MlflowTracker, name: str, which: str) -> None:
    assert tracker.version(name, which) is None


def test_two_versions_created_at_once_leave_one(
    store: Store, run_id: RunId, tmp_path: Path
) -> None:
    with_model(store.tracker, run_id, tmp_path / "m")
    first, second = store.both(tmp_path, VERSION, run_id)
    assert first == second
    left = store.tracker.versions({"run_fingerprint": run_id})
    assert [str(version.version) for version in left] == [first]


def test_two_that_say_the_same_at_once_agree(
    store: Store, run_id: RunId, key: str, tmp_path: Path
) -> None:
    run_id = with_model(store.tracker, run_id, tmp_path / "m")
    version = store.tracker.create_version(run_id, {"run_fingerprint": key})
    assert store.both(tmp_path, SAME, key) == ["done", "done"]
    (now,) = store.tracker.versions({"run_fingerprint": key})
    assert {f"alias-{number}" for number in range(40)} <= set(now.aliases)
    assert now.version == version.version
    assert {now.tags[f"tag-{number}"] for number in range(40)} == {"same"}


def test_versions_are_found_beyond_one_page(
    tracker: MlflowTracker, run_id: RunId, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "VERSIONS", 2)
    with_model(tracker, run_id, tmp_path / "m")
    made = [
        tracker.create_version(run_id, {"run_fingerprint": f"{run_id}-{number}", "of": run_id})
        for number in range(5)
    ]
    assert tracker.versions({"of": run_id}) == made
    latest = [version.version for version in tracker.latest_versions(3)]
    assert latest == [version.version for version in made[:-4:-1]]


def test_a_copy_under_another_name_says_where_its_bytes_are(
    tracker: MlflowTracker, key: str, run_id: RunId, tmp_path: Path
) -> None:
    assert tracker.model_source(run_id) is None
    assert tracker.model_source(RunId("0" * 32)) is None
    with_model(tracker, run_id, tmp_path / "m")
    made = tracker.create_version(run_id, {"run_fingerprint": key})
    assert made.source == tracker.model_source(run_id)
    client(tracker).copy_model_version(made.uri, key)
    client(tracker).set_registered_model_alias(key, "champion", "1")
    (copy,) = (one for one in tracker.every_version() if one.name == key)
    assert (copy.run_id, copy.source, copy.aliases) == (run_id, made.source, ("champion",))
    assert made in tracker.every_version()


def test_check_is_quiet_about_a_good_store(tracker: MlflowTracker) -> None:
    tracker.check()


def test_the_dataset_source_is_plain_json() -> None:
    from clew.adapters.dvc_source import DvcDatasetSource

    source = DvcDatasetSource(**SOURCE)
    assert DvcDatasetSource.from_json(source.to_json()).to_dict() == json.loads(source.to_json())
