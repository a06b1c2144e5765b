"""The situations that a reviewer meets, each as the facts of a report.

`python -m tests.unit.report.situations` writes what is made of them to `golden/`, to be looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from clew.consent.opt_out import Affected, OptOut
from clew.consent.standing import Standing
from clew.evaluate import Evaluation, GateResult
from clew.identity import (
    CommitSha,
    DataFingerprint,
    Pointer,
    RunFingerprint,
    RunId,
    data_version,
)
from clew.ports import ModelVersion, TrackedRun
from clew.report.data_diff import ClassChange, DataDiff, LabelCount
from clew.report.facts import (
    Attribution,
    Change,
    MetricRow,
    PastVersion,
    PointerChange,
    Report,
    Side,
)
from clew.report.links import Links
from clew.report.markdown import markdown
from clew.report.significance import difference
from clew.repository import FileChange
from clew.resolve import Resolution

GOLDEN = Path(__file__).parent / "golden"
BASE, HEAD = "4f" * 20, "9b" * 20
LINKS = Links("https://github.com/acme/shoes", mlflow="https://mlflow.acme.example")
CLASSES = ("Sandal", "Sneaker", "Ankle_boot", "Clog")
HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "| | |",
    "@everyone",
    "](javascript:alert(1))",
    "`</code><script>",
    "#1 and https://example.org and www.example.org",
    "two\n\nlines\r\n| --- |\n```\n",
    "&lt;b&gt; **bold** _x_ ~~y~~ <!-- ",
    '"] --> x["',
    "%%{init: {}}%% ; end",
    "\u202egnp.exe",
)


def resolution(digit: str, commit: str, **changes: Any) -> Resolution:
    """Return what a commit of this digit means."""
    data = DataFingerprint(digit * 64)
    whole = Resolution(
        commit=CommitSha(commit),
        data_git_commit_id=CommitSha(commit),
        data_version=data_version("shoes", data),
        data_fingerprint=data,
        run_fingerprint=RunFingerprint(digit * 64),
        outputs=(Pointer("data/prepared", "md5", digit * 32 + ".dir", 4_000_000, 2_000),),
        params={"train.lr": 0.01, "train.seed": 7},
        code_digest="c0" * 32,
        environment={"executor": "sagemaker", "lock": "e0" * 20},
        tagged=True,
    )
    return replace(whole, **changes)


def side(digit: str, commit: str, metrics: Mapping[str, float], version: int) -> Side:
    """Return a trained side whose model is registered."""
    tags = {
        "clew.job": f"shoes-train-{digit * 12}-1",
        "clew.job_seconds": "1512.0",
        "clew.cost_usd": "0.2311",
        "sagemaker.training_job_arn": "arn:aws:sagemaker:eu-west-1:123456789012:training-job/"
        f"shoes-train-{digit * 12}-1",
    }
    run = TrackedRun(RunId(digit * 32), "FINISHED", {}, tags, metrics)
    model = ModelVersion("shoe-classifier", version, run.id, {})
    return Side(CommitSha(commit), resolution(digit, commit), run, model)


def rows(base: Mapping[str, float], head: Mapping[str, float]) -> tuple[MetricRow, ...]:
    directions: dict[str, Any] = {"accuracy": "higher", "loss": "lower"}
    names = [*directions, *sorted((base.keys() | head.keys()) - directions.keys())]
    found = []
    for name in names:
        before, after = base.get(name), head.get(name)
        interval = None
        if name == "accuracy" and before is not None and after is not None:
            interval = difference(before, 5_000.0, after, 5_000.0)
        found.append(MetricRow(name, before, after, directions.get(name), interval))
    return tuple(found)


def judged(accuracy: float, baseline: float | None = 0.78) -> Evaluation:
    note = "" if baseline else "(no model carries the alias 'production' yet)"
    regressed = baseline is not None and accuracy < baseline - 0.02
    results = (
        GateResult("accuracy", "min", 0.7, accuracy, accuracy >= 0.7),
        GateResult("accuracy", "max_regression", 0.02, accuracy, not regressed, baseline, note),
    )
    return Evaluation(results, "models:/shoe-classifier/6" if baseline else None)


def data_diff(names: tuple[str, ...] = CLASSES, split: str = "train") -> DataDiff:
    """Return a data diff in which the last class is new."""
    classes = tuple(
        ClassChange(split, name, 30 + number, number % 2, 0, 500 + number, 40_000 + number)
        for number, name in enumerate(names)
    )
    labels = [LabelCount(name, 470 - at, 500 - at) for at, name in enumerate(names)]
    labels[-1] = replace(labels[-1], base=0)
    return DataDiff(
        classes=classes,
        unit="record",
        records=2_006,
        relabelled=3,
        resplit=0,
        columns_added=("camera",),
        columns_removed=(),
        labels=tuple(labels),
        files=2_007,
        files_new=126,
        bytes_new=160_012,
        size=4_130_000,
        size_before=4_000_000,
        folders=tuple((f"data/prepared/{split}/{name}", 30) for name in names[:5]),
    )


BEFORE = {"accuracy": 0.78, "loss": 0.61, "n": 5000.0, "recall.Sandal": 0.81}
AFTER = {"accuracy": 0.808, "loss": 0.52, "n": 5000.0, "recall.Sandal": 0.84}
BELOW = {"accuracy": 0.775, "loss": 0.66, "n": 5000.0, "recall.Sandal": 0.8}
LOST = {"accuracy": 0.71, "loss": 0.9, "n": 5000.0, "recall.Sandal": 0.6}
SHARES = {
    "accuracy": {"data": 0.0331, "parameters": -0.0051},
    "loss": {"data": -0.12, "parameters": 0.03},
}


def trained(after: Mapping[str, float], **changes: Any) -> Report:
    """Return a report on a trained head whose parameters changed, and nothing else."""
    whole = Report(
        pipeline="shoes",
        base=side("1", BASE, BEFORE, 6),
        head=side("2", HEAD, after, 7),
        metrics=rows(BEFORE, after),
        evaluation=judged(after["accuracy"]),
        params=(Change("train.lr", 0.01, 0.02, "training"),),
        parts=("parameters",),
        attribution=Attribution("only"),
        cost="$0.23",
        history=tuple(
            PastVersion(number, {"accuracy": 0.7 + number / 70}) for number in range(1, 8)
        ),
        links=LINKS,
    )
    return replace(whole, **changes)


def hostile(name: str) -> Report:
    """Return a report in which whatever can be named carries this name."""
    gate = GateResult(name, "min", 0.1, 0.6, passed=True)
    run = TrackedRun(RunId("2" * 32), "FINISHED", {}, {"clew.job": name}, {name: 0.6})
    resolved = resolution("2", HEAD, environment={"executor": name, "lock": name})
    version = ModelVersion(name, 7, run.id, {})
    return trained(
        AFTER,
        base=Side(CommitSha(BASE), None, missing=name),
        head=Side(CommitSha(HEAD), resolved, run, version, missing=name),
        base_missing=name,
        base_alias=name,
        metrics=(MetricRow(name, 0.5, 0.6, "higher"), MetricRow(f"{name}2", 0.5, 0.6, None)),
        evaluation=Evaluation((gate,), name),
        unjudged=name,
        data=data_diff((name, "honest"), name),
        data_missing=name,
        params=(Change(name, name, [name], "training"),),
        code=(FileChange(name, "added", 1, 0),),
        environment=(Change(name, name, name),),
        parts=("data", "parameters"),
        attribution=Attribution("in order", {name: {"data": 0.2, "parameters": -0.1}}, 1, 2),
        history=tuple(PastVersion(number, {name: number / 10}) for number in (1, 2)),
        problems=(name,),
        consent=OptOut(1, 0, (Affected(name, (name,), 1, 2),), Standing("clean"), name),
    )


def huge() -> Report:
    """Return a report on two thousand changed metrics, classes, parameters and files."""
    names = [f"metric {number} {'x' * 70}" for number in range(2_000)]
    return trained(
        AFTER,
        metrics=(*rows(BEFORE, AFTER), *(MetricRow(name, 0.5, 0.6, None) for name in names)),
        data=data_diff(tuple(f"{'&' * 70} {number}" for number in range(2_000)), "s" * 80),
        params=tuple(Change("<" * 500, "&" * 500, "<" * 500, "data") for _ in range(2_000)),
        code=tuple(FileChange(f"{'&' * 500}{n}", "changed", n, 1) for n in range(2_000)),
        environment=tuple(Change("|" * 80, "&" * 500, "#" * 500) for _ in range(2_000)),
        parts=("data", "parameters", "code"),
        attribution=Attribution(wanted=6),
    )


WITHDRAWN = Standing("withdrawn", revoked=1, records=12)
OPTED_OUT = OptOut(
    withdrawn=2,
    granted=1,
    affected=(
        Affected("models:/shoe-classifier/6", ("alias production", "endpoint shoes-live"), 2, 31),
        Affected("models:/shoe-classifier/5", (), 1, 12),
        Affected("models:/shoe-classifier/4", (), problem="its manifest is gone"),
    ),
    standing=Standing("clean"),
)
DATA_CHANGED = trained(AFTER, params=(), data=data_diff(), parts=("data",))
SITUATIONS: dict[str, Report] = {
    "better": trained(
        AFTER,
        data=data_diff(),
        parts=("data", "parameters"),
        attribution=Attribution("shapley", SHARES, 2, 2, {"accuracy": 0.004, "loss": 0.01}, 4),
    ),
    "worse": trained(BELOW),
    "refused": trained(LOST),
    "first-model": trained(
        AFTER,
        base=Side(CommitSha(BASE), resolution("1", BASE), missing="it was not trained"),
        base_missing="it was not trained",
        metrics=rows({}, AFTER),
        evaluation=judged(0.808, None),
        params=(),
        data=data_diff(),
        parts=("data",),
        attribution=Attribution(),
        history=(),
    ),
    "data-only": DATA_CHANGED,
    "code-only": trained(
        AFTER,
        params=(),
        code=(
            FileChange("src/train.py", "changed", 12, 4),
            FileChange("src/augment.py", "added", 58, 0),
            FileChange("src/icon.png", "removed", None, None),
        ),
        parts=("code",),
    ),
    "nothing": trained(BEFORE, params=(), parts=(), attribution=Attribution()),
    "huge": huge(),
    "hostile-names": hostile(" ".join(HOSTILE[:3])),
    "missing-baseline-evidence": trained(
        AFTER,
        evaluation=None,
        unjudged="the baseline models:/shoe-classifier/6 can't be compared with: its MLflow run "
        "is gone",
        data_missing="the list of files of data/prepared is missing or corrupt in DVC's cache and "
        "remote",
        pointers=(PointerChange("data/prepared", (2_000, 2_126), (4_000_000, 4_160_012)),),
        params=(),
        parts=("data",),
        code_missing="this clone has no commit 4f4f4f4f4f4f",
    ),
    "from-a-fork": replace(
        DATA_CHANGED,
        base=Side(CommitSha(BASE), resolution("1", BASE)),
        head=Side(CommitSha(HEAD), resolution("2", HEAD)),
        metrics=(),
        evaluation=None,
        attribution=Attribution(),
        cost="",
        history=(),
        data_only=True,
        problems=("the stage 'train' reads src/missing.py, which is not in the commit",),
    ),
    "opt-out": replace(DATA_CHANGED, consent=OPTED_OUT),
    "withdrawn": trained(BELOW, consent=replace(OPTED_OUT, standing=WITHDRAWN)),
    "not-told-apart": trained(
        AFTER,
        data=data_diff(),
        parts=("data", "parameters"),
        attribution=Attribution(known=0, wanted=2),
    ),
}


def main() -> None:
    GOLDEN.mkdir(exist_ok=True)
    for name, report in SITUATIONS.items():
        (GOLDEN / f"{name}.md").write_text(markdown(report))


if __name__ == "__main__":
    main()
