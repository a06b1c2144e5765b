"""What a local job sees: SageMaker's folders and variables, and nothing of the caller."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from clew.adapters.local import LocalExecutor
from clew.ports import JobStatus, RemoteConfig
from tests.unit.local.conftest import Bench


def test_a_job_sees_the_layout_and_the_variables_of_sagemaker(bench: Bench) -> None:
    cmd = "env -0 > $SM_OUTPUT_DATA_DIR/env; cat data/x > out.txt; mkdir m; echo w > m/weights"
    spec = bench.spec(
        cmd=cmd,
        stage={"outs": [{"m": {"cache": False}}, {"out.txt": {"cache": False}}]},
        files={"data/x": "bytes"},
        hyperparameters={"train.lr": "0.1", "name": '"wide"', "plain": "text"},
        environment={"MLFLOW_RUN_ID": "abc"},
        channels={"training": "data"},
        model="m",
        collect=("out.txt",),
    )
    job = bench.run(spec)
    assert (job.status, job.reason) == (JobStatus.COMPLETED, "")
    assert job.output == bench.jobs / "job-1/ml"
    assert (job.output / "model/weights").read_text() == "w\n"
    assert (job.output / "output/data/out.txt").read_text() == "bytes"
    assert (job.output / "output/data/dvc.lock").exists()
    assert not (job.output / "output/failure").exists()
    assert 0 < job.seconds < 60

    rows = (job.output / "output/data/env").read_text().split("\0")
    env = dict(row.split("=", 1) for row in rows if row)
    base = str(job.output)
    assert env["MLFLOW_RUN_ID"] == "abc"
    assert env["TRAINING_JOB_NAME"] == "job-1"
    assert env["SM_CHANNELS"] == '["training"]'
    assert env["SM_CHANNEL_TRAINING"] == f"{base}/code/source/data"
    assert env["SM_MODEL_DIR"] == f"{base}/code/source/m"
    assert env["SM_OUTPUT_DIR"] == f"{base}/output"
    assert json.loads(env["SM_HPS"]) == {"train.lr": 0.1, "name": "wide", "plain": "text"}
    assert env["SM_HP_NAME"] == "wide"
    assert json.loads(env["SM_HOSTS"]) == ["algo-1"]
    assert env["HOME"].startswith(base)
    assert env["TMPDIR"].startswith(base)
    assert env["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert env["DO_NOT_TRACK"] == "true"

    config = job.output / "input/config"
    assert json.loads((config / "resourceconfig.json").read_text())["current_host"] == "algo-1"
    assert "training" in json.loads((config / "inputdataconfig.json").read_text())
    assert json.loads((config / "hyperparameters.json").read_text())["train.lr"] == "0.1"


def test_nothing_of_the_callers_environment_leaks(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = ("AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "PYTHONPATH", "GIT_DIR", "DVC_EXP_NAME")
    for name in secrets:
        monkeypatch.setenv(name, "planted")
    executor = LocalExecutor(bench.jobs, {"GITHUB_TOKEN": "passed on purpose"})
    executor.submit(bench.spec(cmd="env > $SM_OUTPUT_DATA_DIR/env; echo HOME=$HOME"))
    job = executor.wait("job-1", lambda _line: None)
    assert job.output is not None
    text = (job.output / "output/data/env").read_text()
    assert "planted" not in text
    assert "GITHUB_TOKEN=passed on purpose" in text
    kept = [path for path in (bench.jobs / "job-1").rglob("*") if path.is_file()]
    assert [p.name for p in kept if "passed on purpose" in p.read_text()] == ["env"]
    assert (bench.jobs / "job-1").stat().st_mode & 0o077 == 0, "others could read the environment"


def test_a_job_does_not_find_the_git_repository_around_it(bench: Bench) -> None:
    subprocess.run(["git", "init", "-q", bench.folder], check=True)
    lines: list[str] = []
    bench.run(bench.spec(cmd="git rev-parse HEAD || echo no repository"), lines)
    assert "no repository" in lines


def test_dvc_in_a_job_needs_no_git_and_uses_a_cache_of_its_own(bench: Bench) -> None:
    cmd = "cat .dvc/config.local > $SM_OUTPUT_DATA_DIR/config; echo 1 > out"
    job = bench.run(bench.spec(cmd=cmd, stage={"outs": ["out"]}))
    assert job.output is not None, job.reason
    config = (job.output / "output/data/config").read_text()
    assert "no_scm = true" in config
    assert "verify = true" in config
    assert not (bench.jobs / "job-1/shared").exists()
    assert not (bench.jobs / "job-1/ml/shared").exists()


def test_a_remote_may_have_any_name_and_options(bench: Bench) -> None:
    url = str(bench.folder / "sto,rage #1 'x'")
    remote = RemoteConfig("my store", url, {"jobs": "2", "verify": "False"})
    spec = bench.spec(cmd="echo 1 > out", stage={"outs": ["out"]}, push=("out",), remote=remote)
    job = bench.run(spec)
    assert job.status is JobStatus.COMPLETED, job.reason
    assert list(Path(url).rglob("*"))


def test_stages_run_in_the_folder_of_the_pipeline(bench: Bench) -> None:
    files = {"models/a/dvc.yaml": json.dumps({"stages": {"main": {"cmd": "basename $PWD"}}})}
    lines: list[str] = []
    assert bench.run(bench.spec(files=files, workdir="models/a"), lines).reason == ""
    assert "a" in lines


def test_lines_are_handed_on_as_they_come_also_one_without_an_end(bench: Bench) -> None:
    lines: list[str] = []
    bench.run(bench.spec(cmd="echo one; echo two >&2; printf 'ünfinished'; kill -9 $PPID"), lines)
    assert lines[-3:] == ["one", "two", "ünfinished"]


def test_overrides_go_into_params_yaml_and_change_nothing_else(bench: Bench) -> None:
    params = "train: {lr: 0.5, decay: 1e-4} # kept\nflag: on\n"
    spec = bench.spec(
        cmd="cat params.yaml > $SM_OUTPUT_DATA_DIR/p; echo ${train.lr} ${train.decay} ${flag}",
        files={"params.yaml": params},
        params={"train.lr": 0.25},
    )
    lines: list[str] = []
    job = bench.run(spec, lines)
    assert job.output is not None, job.reason
    assert (job.output / "output/data/p").read_text() == params.replace("0.5", "0.25")
    assert "0.25 0.0001 on" in lines


def test_an_override_of_a_parameter_that_is_not_there_is_named(bench: Bench) -> None:
    files = {"params.yaml": "train: {lr: 0.5}\n"}
    job = bench.run(bench.spec(files=files, params={"trian.lr": 1}))
    assert job.status is JobStatus.FAILED
    assert "params.yaml has no trian.lr" in job.reason


def test_the_bundle_must_be_the_one_that_was_recorded(bench: Bench) -> None:
    spec = bench.spec(cmd="touch $SM_OUTPUT_DATA_DIR/ran")
    with spec.bundle.open("ab") as file:
        file.write(b"\0" * 1024)
    job = bench.run(spec)
    assert job.status is JobStatus.FAILED
    assert "sha256" in job.reason
    assert not (bench.jobs / "job-1/ml/output/data/ran").exists()
