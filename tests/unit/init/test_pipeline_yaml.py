"""Whatever stages and paths are named, pipeline.yaml says just that, or clew refuses it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clew.config.load import load
from clew.config.model import MetricsFile, Pipeline
from clew.errors import ConfigError
from clew.init.detect import Metrics, slug
from clew.init.pipeline_yaml import Answers, render
from clew.init.stages import Roles

TEXTS = st.one_of(
    st.text(min_size=1, max_size=40),
    st.text("abc:#{}[]&*!|>'\"%@`,- \n\\?=~<$", min_size=1, max_size=20),
    st.sampled_from(
        ["yes", "null", "1e3", "0x10", "12:30", "2024-01-01", "- a", "a: b", "<<", "="]
    ),
)


def answers(stage: str, output: str, model: str, metric: str, **more: str) -> Answers:
    return Answers(
        name="churn",
        roles=Roles((f"p{stage}",), (output,), (stage,), model, ("metrics.json",)),
        remote=more.get("remote", "storage"),
        metrics=Metrics((MetricsFile("metrics.json", (metric,)),), (metric, 0.01)),
        code=(more.get("code", "src"),),
        lock=more.get("lock"),
        tracking_uri="sqlite:///.clew/mlflow.db",
        branch=more.get("branch", "main"),
    )


def loaded(given_answers: Answers) -> Pipeline | None:
    try:
        return load(render(given_answers).encode(), "pipeline.yaml")
    except ConfigError:
        return None


@given(TEXTS, TEXTS, TEXTS, st.text("abc_./: -", min_size=1), TEXTS)
def test_any_text_round_trips_or_is_refused(
    stage: str, output: str, model: str, metric: str, branch: str
) -> None:
    given_answers = answers(stage, output, model, metric, branch=branch)
    found = loaded(given_answers)
    if found is not None:
        assert found.train.stages == (stage,)
        assert found.data.outputs == (output,)
        assert found.train.model == model
        assert found.gates[0].metric == metric
        assert found.promotion.branch == branch


PATHS = st.text(
    st.characters(categories=["L", "N", "P", "S"], exclude_characters="/\\"),
    min_size=1,
    max_size=30,
).filter(lambda text: not text.startswith((".", "-")) and text[1:2] != ":")


@given(PATHS, PATHS, PATHS, PATHS)
def test_all_that_the_schema_takes_is_taken(output: str, model: str, code: str, lock: str) -> None:
    found = loaded(answers("train", output, model, "accuracy", code=code, lock=lock))
    assert found is not None
    assert (found.data.outputs, found.train.model) == ((output,), model)
    assert (found.code.paths, found.code.lock) == ((code,), lock)


@given(st.text())
def test_any_text_gives_a_name(text: str) -> None:
    name = slug(text)
    assert loaded(answers("train", "data", "model", "accuracy")) is not None
    assert 0 < len(name) <= 32
    assert not set(name) - set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert name.strip("-") == name
