"""`clew attribute` where trainings cost money: said before, and none of them registered."""

from __future__ import annotations

from tests.system.sagemaker.cloud import SKLEARN, Cloud


def test_parameters_and_image_are_told_apart_for_a_price_said_before(cloud: Cloud) -> None:
    cloud.run()
    base = cloud.git("rev-parse", "HEAD")
    cloud.edit("params.yaml", "lr: 0.5", "lr: 0.55")
    other = SKLEARN.replace("a" * 64, "c" * 64)
    cloud.edit("pipeline.yaml", SKLEARN, other)
    cloud.commit("Another rate on another image")
    cloud.run()
    versions, jobs = cloud.versions(), cloud.jobs()

    planned = cloud.clew("attribute", "--base", base, "--every", "--dry-run")
    assert planned.returncode == 0, planned.stderr
    assert planned.stdout.count("; at most $") == 2
    assert "2 trainings, in all at most $0.2" in planned.stdout
    assert cloud.jobs() == jobs

    found = cloud.answer("attribute", "--base", base, "--every", "--yes")
    shares = {part: round(share, 9) for part, share in found["shares"]["accuracy"].items()}
    assert (found["method"], shares) == ("shapley", {"parameters": 0.05, "environment": 0.0})
    mixed = [name for name in cloud.jobs() if name not in jobs]
    images = {cloud.describe(name)["AlgorithmSpecification"]["TrainingImage"] for name in mixed}
    assert images == {SKLEARN, other}
    assert cloud.versions() == versions
    assert "parameters +5.0, environment 0.0" in cloud.clew("report", "--base", base).stdout
