"""Who opts out: no endpoint takes a model with their records, and what is live is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.system.people import SUBJECTS, make_people
from tests.system.sagemaker.cloud import Cloud, make_cloud
from tests.system.sagemaker.test_deploy import MODEL, TRAIN
from tests.system.small import Small

if TYPE_CHECKING:
    from tests.stand import Stand

BOB = SUBJECTS[1]
ENDPOINT = "clinic-live"
FIRST, SECOND = "models:/clinic-model/1", "models:/clinic-model/2"


@pytest.fixture(scope="module")
def clinic(fresh: Small, stand: Stand, tmp_path_factory: pytest.TempPathFactory) -> Cloud:
    """One model on an endpoint; then Bob opts out, and a second model is trained without him."""
    cloud = make_cloud(fresh, tmp_path_factory.mktemp("clinic") / "copy", stand, "clinic")
    (cloud.work / "stages/train.py").write_text(TRAIN)
    (cloud.work / "stages/constant.txt").write_text(MODEL)
    make_people(cloud)
    cloud.run()
    cloud.answer("deploy", FIRST, "--endpoint", ENDPOINT)
    cloud.git("config", "user.name", "T")
    cloud.git("config", "user.email", "t@example.org")
    cloud.answer("consent", "revoke", BOB, "--push")
    cloud.run()
    return cloud


def verdict(clinic: Cloud, *arguments: str, code: int = 0) -> Any:
    done = clinic.clew("audit", *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def test_quarantine_from_endpoint_to_audit(clinic: Cloud) -> None:
    # Production has a clean model by alias, and the other one is live all the same.
    found = clinic.answer("audit", "pending")
    assert (found["models"], len(found["revocations"])) == ([FIRST, SECOND], 1)
    live = {one["model"]: one["live"] for one in clinic.answer("audit", "subject", BOB)["models"]}
    assert live == {FIRST: [f"endpoint {ENDPOINT}"]}
    assert "1 model" in verdict(clinic, "excluded", BOB, "--since", "HEAD")
    verdict(clinic, "excluded", BOB, "--since", "HEAD", "--deployed", code=1)

    clinic.answer("deploy", SECOND, "--endpoint", ENDPOINT)
    verdict(clinic, "excluded", BOB, "--since", "HEAD", "--deployed")
    assert clinic.answer("audit", "pending")["revocations"] == []
    for arguments in (("deploy", FIRST), ("rollback",)):
        for dry in ((), ("--dry-run",)):
            refused = clinic.clew(*arguments, "--endpoint", ENDPOINT, *dry)
            assert refused.returncode == 1
            assert "1 who revoked" in refused.stderr
            assert BOB not in refused.stderr
    assert "clew.consent_override" not in tags(clinic, 1)

    clinic.answer("rollback", "--endpoint", ENDPOINT, "--override", "an outage")
    assert tags(clinic, 1)["clew.consent_override"] == "an outage"
    assert tags(clinic, 1)["clew.consent"] == "withdrawn"
    assert [one["live"] for one in clinic.answer("audit", "subject", BOB)["models"]] == [
        [f"endpoint {ENDPOINT}"]
    ]


def test_an_edited_tag_moves_no_endpoint_to_another_model(clinic: Cloud) -> None:
    clinic.answer("deploy", FIRST, "--endpoint", ENDPOINT, "--override", "for now")
    name, key = "clinic-model", "sagemaker.model_package_arn"
    arns = [tags(clinic, number)[key] for number in (1, 2)]
    for number, arn in ((1, arns[1]), (2, arns[0])):
        clinic.mlflow().set_model_version_tag(name, str(number), key, arn)
    assert "which another claims" in verdict(clinic, "pending", code=3)
    verdict(clinic, "excluded", BOB, "--since", "HEAD", "--deployed", code=3)
    for number, arn in enumerate(arns, start=1):
        clinic.mlflow().set_model_version_tag(name, str(number), key, arn)
    assert "not reflected by" in verdict(clinic, "pending")


def test_a_model_that_was_deleted_is_found_on_its_endpoint(clinic: Cloud) -> None:
    clinic.answer("deploy", FIRST, "--endpoint", ENDPOINT, "--override", "for now")
    clinic.mlflow().delete_model_version("clinic-model", "1")
    (holder,) = clinic.answer("audit", "subject", BOB)["models"]
    assert holder["deleted"] == "version"
    assert holder["live"] == [f"endpoint {ENDPOINT}"]
    verdict(clinic, "excluded", BOB, "--since", "HEAD", "--deployed", code=1)


def tags(clinic: Cloud, version: int) -> dict[str, str]:
    found: dict[str, str] = clinic.mlflow().get_model_version("clinic-model", str(version)).tags
    return found


def test_no_id_is_in_logs_or_runs(clinic: Cloud) -> None:
    assert BOB not in clinic.all_logs()
    for run in (*clinic.runs("train"), *clinic.runs("run")):
        assert BOB not in str(run.to_dictionary())
