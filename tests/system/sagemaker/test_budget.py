"""What may be spent, and what was: refused before anything starts, told afterwards."""

from __future__ import annotations

from typing import Any

from tests.system.sagemaker.cloud import Cloud

WORST = 0.115  # USD: an hour of one ml.m5.large, in prices.json


def allow(cloud: Cloud, budget: str) -> None:
    """Write another budget into pipeline.yaml; it is no part of any fingerprint."""
    file = cloud.work / "pipeline.yaml"
    text = file.read_text().partition("    budget:")[0]
    file.write_text(f"{text}    budget: {{{budget}}}\n")
    cloud.commit(f"Allow {budget}")


def refused(cloud: Cloud, *arguments: str) -> str:
    done = cloud.clew("run", *arguments)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stderr


def plan(cloud: Cloud) -> dict[str, dict[str, Any]]:
    return {row["step"]: row for row in cloud.answer("run", "--dry-run")}


def test_a_run_is_held_against_its_budget_and_its_cost_is_part_of_the_record(cloud: Cloud) -> None:
    _one_run_too_dear(cloud)
    allow(cloud, "per_run_usd: 0.24, per_month_usd: 0.3")
    for step in ("process", "train"):
        assert plan(cloud)[step]["estimate"] == {
            "instance_type": "ml.m5.large",
            "instance_count": 1,
            "most_seconds": 3600,
            "worst_usd": WORST,
            "likely_usd": None,
        }
    assert "at most $0.12 (1 x ml.m5.large)" in cloud.clew("run", "--dry-run").stdout
    done = cloud.clew("run")
    assert done.returncode == 0, done.stderr
    _recorded(cloud, done.stdout)
    _one_month_too_dear(cloud)


def _one_run_too_dear(cloud: Cloud) -> None:
    """Both jobs count: half a run would be money for nothing."""
    allow(cloud, "per_run_usd: 0.2")
    for arguments in ((), ("--dry-run",)):
        said = refused(cloud, *arguments)
        assert "$0.12" in said
        assert "executor.sagemaker.budget.per_run_usd is $0.2" in said
    assert cloud.jobs() == cloud.jobs("Processing") == []
    assert cloud.runs("process") == cloud.runs("run") == []


def _recorded(cloud: Cloud, summary: str) -> None:
    """MLflow has what each job cost, the trace and the summary show it."""
    (training,), (processing,) = cloud.jobs(), cloud.jobs("Processing")
    (trained,), (processed,) = cloud.runs("train"), cloud.runs("process")
    job = cloud.describe(training)
    tags = trained.data.tags
    usd = job["BillableTimeInSeconds"] * WORST / 3600
    assert abs(float(tags["clew.cost_usd"]) - usd) < 1e-6
    described = cloud.describe(processing, "Processing")
    seconds = (described["ProcessingEndTime"] - described["ProcessingStartTime"]).total_seconds()
    assert abs(float(processed.data.tags["clew.cost_usd"]) - seconds * WORST / 3600) < 1e-6
    assert processed.data.tags["sagemaker.processing_job_name"] == processing
    trace = cloud.answer("trace", f"models:/{cloud.name}-model/1")
    (node,) = [node for node in trace["nodes"] if node["kind"] == "job"]
    facts = {fact["key"]: fact["value"] for fact in node["facts"]}
    assert facts["clew.cost_usd"] == tags["clew.cost_usd"]
    assert facts["sagemaker.billable_seconds"] == tags["sagemaker.billable_seconds"]
    assert all("$" in line for line in summary.splitlines() if " s, " in line)
    assert summary.count("$") == 2


def _one_month_too_dear(cloud: Cloud) -> None:
    allow(cloud, "per_month_usd: 0.05")
    assert cloud.answer("run")["train"]["reused"]  # which costs nothing
    cloud.edit("params.yaml", "lr: 0.5", "lr: 0.6")
    cloud.commit("Train again")
    said = refused(cloud)
    assert "executor.sagemaker.budget.per_month_usd is $0.05" in said
    assert "may cost $0.12" in said
    assert len(cloud.jobs()) == len(cloud.runs("train")) == 1
    assert "RUNNING" not in {run.info.status for run in cloud.runs("run")}
    cloud.stand.client.deny("sagemaker:ListTrainingJobs", "*:user/clew-control")
    unread = cloud.clew("run")
    cloud.stand.client.no_faults()
    assert unread.returncode == 2, unread.stderr
    assert "this month's jobs cost can't be read" in unread.stderr
    assert "lacks the right sagemaker:ListTrainingJobs" in unread.stderr
    allow(cloud, "per_month_usd: 0.2")
    cloud.stand.client.slow_start(seconds=15, job=f"{cloud.name}-train-*")
    assert plan(cloud)["train"]["estimate"]["likely_usd"] < 0.01
    assert cloud.clew("run", "--detach").returncode == 0
    # What is running counts by its worst case; to go on with it costs nothing more.
    allow(cloud, "per_month_usd: 0.1")
    row = plan(cloud)["train"]
    assert row["action"] == "exists"
    assert "estimate" not in row
    assert cloud.clew("run", "--detach").returncode == 0
    cloud.edit("params.yaml", "lr: 0.6", "lr: 0.7")
    allow(cloud, "per_month_usd: 0.2")
    assert "come to $0.12" in refused(cloud)
    assert len(cloud.jobs()) == 2
    cloud.clew("wait", cloud.jobs()[-1])


def test_a_type_without_a_price_is_refused_where_there_is_a_budget(cloud: Cloud) -> None:
    cloud.edit("pipeline.yaml", "type: ml.m5.large,", "type: ml.c4.xlarge,")
    cloud.commit("Another type")
    assert plan(cloud)["process"]["estimate"]["worst_usd"] is None
    assert "unknown cost" in cloud.clew("run", "--dry-run").stdout
    allow(cloud, "per_month_usd: 100")
    done = cloud.clew("run")
    assert done.returncode == 2, done.stderr
    assert "no price of ml.c4.xlarge" in done.stderr
    assert "Add it to executor.sagemaker.prices" in done.stderr
    assert cloud.jobs("Processing") == []
    allow(cloud, "per_month_usd: 100}\n    prices: {ml.c4.xlarge: 50.5")
    assert plan(cloud)["process"]["estimate"]["worst_usd"] == 50.5
