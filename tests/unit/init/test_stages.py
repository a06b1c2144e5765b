"""Which stages make data and which train, in graphs of many shapes."""

from __future__ import annotations

from pathlib import Path

import pytest

from clew.adapters.dvc_survey import verified
from clew.errors import ConfigError
from clew.init.detect import code_paths, lock_file, metrics
from clew.init.stages import candidates, is_clear, roles
from clew.init.survey import StageOut, Survey, SurveyedStage


def stage(
    name: str,
    deps: str = "",
    outs: str = "",
    metric: str = "",
    *,
    cmd: str = "",
    params: tuple[str, ...] = (),
) -> SurveyedStage:
    made = [StageOut(path) for path in outs.split()]
    made += [StageOut(path, cached=False, metric=True) for path in metric.split()]
    return SurveyedStage(name, (cmd,), tuple(deps.split()), tuple(made), params)


def test_data_train_and_evaluation() -> None:
    survey = Survey(
        (
            stage("prepare", "raw", "data/prepared"),
            stage("featurize", "data/prepared", "data/features"),
            stage("train", "data/features train.py", "model.pkl"),
            stage("evaluate", "model.pkl data/features", "", "eval.json"),
        ),
        added=("raw",),
    )
    assert candidates(survey)[0] == "model.pkl"
    assert is_clear(candidates(survey))
    found = roles(survey, "model.pkl")
    assert found.data_stages == ("prepare", "featurize")
    assert found.data_outputs == ("data/features",)
    assert found.train_stages == ("train", "evaluate")
    assert found.metrics == ("eval.json",)


def test_metrics_of_the_data_are_no_models() -> None:
    survey = Survey(
        (
            stage("prepare", "raw", "clean", "quality.json"),
            stage("train", "clean", "out", "scores.json"),
        )
    )
    assert candidates(survey)[0] == "out"
    found = roles(survey, "out")
    assert (found.train_stages, found.metrics) == (("train",), ("scores.json",))
    assert found.data_stages == ("prepare",)


def test_what_training_reads_of_both_kinds() -> None:
    survey = Survey(
        (stage("split", "raw", "parts"), stage("fit", "parts labels/all.csv", "net.pt", "m.json")),
        added=("labels", "unused"),
    )
    found = roles(survey, "net.pt")
    assert found.data_outputs == ("parts", "labels")


def test_two_trainers_are_both_training() -> None:
    survey = Survey(
        (
            stage("train-a", "data", "models/a.pkl"),
            stage("train-b", "data", "models/b.pkl"),
            stage("compare", "models/a.pkl models/b.pkl", "", "m.json"),
        ),
        added=("data",),
    )
    assert not is_clear(candidates(survey))
    assert roles(survey, "models/a.pkl").train_stages == ("train-a", "train-b", "compare")


@pytest.mark.parametrize(
    ("survey", "said"),
    [
        (Survey((stage("train", "data", "model"),)), "has `metrics`"),
        (Survey((stage("train", "data", "", "m.json"),)), "could be the model"),
    ],
)
def test_without_model_or_metrics(survey: Survey, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        candidates(survey)


def test_a_model_that_nothing_measures() -> None:
    survey = Survey((stage("a", "d", "model", "m.json"), stage("b", "d", "other")), added=("d",))
    with pytest.raises(ConfigError, match="no metrics come of the stage 'b'"):
        roles(survey, "other")
    with pytest.raises(ConfigError, match="makes elsewhere"):
        roles(survey, "elsewhere")


def test_code_is_what_commands_name_and_training_reads(tmp_path: Path) -> None:
    for name in ("src/train.py", "pkg/fit.py", "prep.py", "settings.toml", "data/x.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    survey = Survey(
        (
            stage("prepare", "raw", "data", cmd="python prep.py 'unclosed"),
            stage(
                "train",
                "data settings.toml src/train.py",
                "model",
                "m.json",
                cmd="python src/train.py && python -m pkg.fit && python /etc/x.py",
                params=("params.yaml", "conf/more.yaml"),
            ),
        ),
        variables=("vars.yaml",),
    )
    found = code_paths(tmp_path, survey, roles(survey, "model"))
    assert set(found) == {
        "settings.toml", "src", "pkg", "prep.py", "vars.yaml", "conf/more.yaml"
    }  # fmt: skip


def test_a_script_beside_the_data_is_named_alone(tmp_path: Path) -> None:
    survey = Survey(
        (stage("train", "work/data work/train.py", "work/model", "work/m.json"),),
        added=("work/data",),
    )
    assert code_paths(tmp_path, survey, roles(survey, "work/model")) == ("work/train.py",)


@pytest.mark.parametrize(
    ("there", "wanted"),
    [
        (["requirements-dev.txt", "poetry.lock"], "poetry.lock"),
        (["requirements.txt", "uv.lock"], "uv.lock"),
        (["requirements-ci.txt"], "requirements-ci.txt"),
        (["setup.py"], None),
    ],
)
def test_the_lock_file(tmp_path: Path, there: list[str], wanted: str | None) -> None:
    for name in there:
        (tmp_path / name).touch()
    assert lock_file(tmp_path) == wanted


def test_the_direction_of_a_metric_is_told_by_its_name(tmp_path: Path) -> None:
    text = '{"val": {"f1": 0.8, "log_loss": 2, "accuracy_loss": 1}, "n": 3, "R2": 0.5, "MAE": 4}'
    (tmp_path / "m.json").write_text(text)
    (tmp_path / "same.json").write_text('{"n": 1}')
    found = metrics(tmp_path, ["m.json", "same.json", "absent.json"])
    assert [file.path for file in found.files] == ["m.json", "absent.json"]
    assert found.files[0].higher == ("val.f1", "R2")
    assert found.files[0].lower == ("val.log_loss", "val.accuracy_loss", "MAE")
    assert found.gate == ("val.f1", 0.02)
    assert len(found.notes) == 2


@pytest.mark.parametrize("before", ["", "    verify = false\n", "    verify=False\n"])
def test_verify_is_set_and_all_else_stays(before: str) -> None:
    head, tail = (
        "[core]\n    remote = a\n['remote \"a\"']\n",
        "    url = x  # mine\n[other]\nverify = 1",
    )
    assert verified(head + before + tail, "a") == f"{head}    verify = true\n{tail}"


def test_a_remote_without_a_section() -> None:
    with pytest.raises(ConfigError, match="no section of its own"):
        verified("[core]\n", "a")
