"""infra/ grants what docs/aws-rights.md says, to whom it says, and nothing wide."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml

from clew.account import Right
from clew.config.model import Instance, Network, SageMaker, Serving
from clew.rights import job_rights, own_rights, serving_rights
from tests.unit.infra.stack import (
    CLEW,
    FINISH,
    FINISHING,
    RESOURCES,
    ROLES,
    ROOT,
    Grant,
    Stack,
    grants,
    listed,
    shown,
    statements,
)

TABLE = ROOT / "docs/aws-rights.md"
ADAPTERS = ROOT / "scripts/clew/adapters"
ACCOUNT = "123456789012"
APP = f"arn:aws:sagemaker:eu-west-1:{ACCOUNT}:mlflow-app/app-1"
NAMES = {
    "AWS::Partition": "aws",
    "AWS::Region": "eu-west-1",
    "AWS::AccountId": ACCOUNT,
    "Pipeline": "fashion",
    "ModelPackageGroup": "fashion-model",
    "EndpointPrefix": "fashion",
    "Store.Arn": "arn:aws:s3:::bucket",
    "Tracking": APP,
    "KmsKey": f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/1",
    "Secrets": f"arn:aws:secretsmanager:eu-west-1:{ACCOUNT}:secret:mlflow",
    **{f"{role}.Arn": f"arn:aws:iam::{ACCOUNT}:role/{name}" for role, name in ROLES.items()},
}


def in_table() -> set[Grant]:
    """Read the rows `| role | actions | resources | why |`; code is in backticks."""
    rows = [line.strip("|").split("|") for line in TABLE.read_text().splitlines() if "`" in line]
    found: set[Grant] = set()
    for role, actions, resources, _why in (row for row in rows if len(row) == 4):
        for action in re.findall("`([^`]+)`", actions):
            for resource in resources.split("<br>"):
                found.add(Grant(role.strip(), action, resource.strip().strip("`")))
    return found


def test_the_table_is_what_the_template_grants() -> None:
    template, table = grants(), in_table()
    assert sorted(template - table) == []
    assert sorted(table - template) == []


def test_every_role_is_in_the_table() -> None:
    both = {**RESOURCES, **FINISHING}
    roles = {name for name, one in both.items() if one["Type"] == "AWS::IAM::Role"}
    assert roles == set(ROLES)


@pytest.fixture(scope="module")
def services() -> Any:
    """AWS's Service Authorization Reference, of which cfn-lint has a copy."""
    pytest.importorskip("cfnlint", reason="the extra `stand` is not installed")
    return json.loads((files("cfnlint") / "data/AdditionalSpecs/Policies.json").read_text())


def test_nothing_is_granted_by_wildcard(services: Any) -> None:
    for grant in grants():
        service, _, action = grant.action.partition(":")
        known = services[service]["Actions"][
            action.lower()
        ]  # an action that there is not: KeyError
        assert (grant.resource == "*") == (not known.get("Resources")), grant


def test_each_right_is_on_resources_of_its_kind(services: Any) -> None:
    actions = services["sagemaker"]["Actions"]
    for statement in (one for role in ROLES if role in RESOURCES for one in statements(role)):
        given = {shown(one).partition("/")[0] for one in listed(statement["Resource"])}
        names = [str(name).partition(":") for name in listed(statement["Action"])]
        taken = [
            set(actions[a.lower()].get("Resources", ())) for s, _, a in names if s == "sagemaker"
        ]
        if taken and not given & {"*", "the MLflow App"}:
            assert all(kinds & given for kinds in taken), statement["Sid"]
            assert given <= set().union(*taken), statement["Sid"]


def test_jobs_delete_nothing_and_training_writes_no_data() -> None:
    by_role: dict[str, set[tuple[str, str]]] = {}
    for grant in grants():
        by_role.setdefault(grant.role, set()).add((grant.action, grant.resource))
    for role in ("CI", "processing", "training", "serving"):
        assert not [action for action, _ in by_role[role] if action.startswith("s3:Delete")]
    assert ("s3:PutObject", "dvc/*") in by_role["processing"]
    assert ("s3:PutObject", "dvc/*") not in by_role["training"]
    assert not [where for action, where in by_role["serving"] if action == "s3:PutObject"]
    deleting = {role for role, pairs in by_role.items() if ("s3:DeleteObject", "dvc/*") in pairs}
    assert deleting == {"purge"}


def test_only_job_roles_are_passed_and_only_to_sagemaker() -> None:
    passing = [
        (role, statement)
        for role in ROLES
        if role in RESOURCES
        for statement in statements(role)
        if "iam:PassRole" in listed(statement["Action"])
    ]
    ((role, statement),) = passing
    assert role == "CiRole"
    condition = {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
    assert statement["Condition"] == condition
    assert [shown(one) for one in statement["Resource"]] == [
        *("the role of processing", "the role of training", "the role of serving")
    ]


def test_github_comes_in_with_an_exact_audience_and_subject() -> None:
    (statement,) = RESOURCES["CiRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Condition"] == {
        "StringEquals": {
            "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
            "token.actions.githubusercontent.com:sub": {"Ref": "GitHubSubjects"},
        }
    }
    assert RESOURCES["CiRole"]["Properties"]["MaxSessionDuration"] == 3600


def test_the_purge_role_is_for_one_who_has_a_second_factor_or_is_a_role() -> None:
    trust = RESOURCES["PurgeRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert [statement["Principal"] for statement in trust] == [
        {"AWS": {"Ref": "PurgePrincipal"}}
    ] * 2
    assert [statement["Condition"] for statement in trust] == [
        {"Bool": {"aws:MultiFactorAuthPresent": "true"}},
        {"StringEquals": {"aws:PrincipalType": "AssumedRole"}},
    ]


def test_aws_services_take_roles_of_this_account_only() -> None:
    for stack in (RESOURCES, FINISHING):
        for role in (name for name in ROLES if name in stack):
            for statement in stack[role]["Properties"]["AssumeRolePolicyDocument"]["Statement"]:
                if "Service" in statement["Principal"]:
                    (condition,) = statement["Condition"].items()
                    assert condition in (
                        ("StringEquals", {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}),
                        ("StringEquals", {"aws:SourceArn": condition[1].get("aws:SourceArn")}),
                    )


def test_the_bucket_outlives_the_stack_and_takes_no_plain_http() -> None:
    store = RESOURCES["Store"]
    assert store["DeletionPolicy"] == store["UpdateReplacePolicy"] == "Retain"
    properties = store["Properties"]
    assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
    assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}
    (statement,) = RESOURCES["StorePolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Principal"]) == ("Deny", "*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def called() -> set[str]:
    """Return the actions of the calls in clew's own adapters; doctor's are for whoever sets up."""
    session = pytest.importorskip("botocore.session").get_session()
    snake = pytest.importorskip("botocore").xform_name
    services = {"sagemaker": "sagemaker", "sagemaker-runtime": "sagemaker", "logs": "logs"}
    operations = {
        snake(operation): f"{prefix}:{operation}"
        for service, prefix in {**services, "ecr": "ecr"}.items()
        for operation in session.get_service_model(service).operation_names
    }
    files = [*ADAPTERS.glob("sagemaker*.py"), ADAPTERS / "ecr.py"]
    text = "".join(file.read_text() for file in files if "doctor" not in file.name)
    for kind in ("training", "processing"):
        text += text.replace("{kind.lower()}", kind)
    names = set(re.findall(r"[a-z]+(?:_[a-z]+)+", text))
    return {operations[name] for name in names if name in operations}


def test_ci_may_do_what_clew_calls_and_no_more() -> None:
    granted = {grant.action for grant in grants() if grant.role == "CI"}
    of_services = {a for a in granted if a.startswith(("sagemaker:", "logs:", "ecr:"))}
    by_mlflow = {"sagemaker:CallMlflowAppApi"}
    assert sorted(called() - granted) == []
    assert sorted(of_services - called() - by_mlflow) == []


SETTINGS = SageMaker(
    role=NAMES["TrainingRole.Arn"],
    processing_role=NAMES["ProcessingRole.Arn"],
    region=NAMES["AWS::Region"],
    s3_prefix="s3://bucket/clew",
    image=f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com/clew-jobs@sha256:{'a' * 64}",
    instance=Instance("ml.m5.large"),
    kms_key=NAMES["KmsKey"],
    network=Network(("subnet-0a1b",), ("sg-0a1b",)),
    secrets={"MLFLOW_TRACKING_PASSWORD": NAMES["Secrets"]},
    serving=Serving(role=NAMES["ServingRole.Arn"]),
)
JOB = (SETTINGS, str(SETTINGS.image), "s3://bucket/dvc", APP)


@pytest.mark.parametrize(
    ("role", "rights"),
    [
        ("CiRole", own_rights(SETTINGS, "fashion", "fashion-model")),
        ("TrainingRole", job_rights("Training", *JOB)),
        ("ProcessingRole", job_rights("Processing", *JOB)),
        ("ServingRole", serving_rights(SETTINGS, str(SETTINGS.image))),
    ],
)
def test_clew_doctor_misses_nothing(role: str, rights: list[Right]) -> None:
    stack = Stack(NAMES)
    assert [right for right in rights if not stack.allowing(role, *right)] == []


def test_only_the_end_of_this_pipelines_own_jobs_starts_anything() -> None:
    """Each end: a limit of time ends a job as Stopped, and nobody else would hear of it."""
    for kind, step in (("Training", "train"), ("Processing", "process")):
        rule = FINISHING[f"{kind}Ended"]["Properties"]
        assert rule["EventPattern"] == {
            "source": ["aws.sagemaker"],
            "detail-type": [f"SageMaker {kind} Job State Change"],
            "detail": {
                f"{kind}JobStatus": ["Completed", "Failed", "Stopped"],
                f"{kind}JobName": [{"prefix": {"Sub": "${Pipeline}" + f"-{step}-"}}],
            },
        }
        for target in (choice["If"][1] for choice in rule["Targets"]):
            assert target["InputTransformer"]["InputPathsMap"] == {"job": f"$.detail.{kind}JobArn"}
            said = target["InputTransformer"]["InputTemplate"].replace("<job>", '"an ARN"')
            assert "an ARN" in json.dumps(json.loads(said))


def test_the_build_runs_what_the_branch_says_and_no_text_of_others_in_a_shell() -> None:
    project = FINISHING["Finish"]["Properties"]
    assert project["SourceVersion"] == {"Sub": "refs/heads/${Branch}"}
    spec = yaml.safe_load((ROOT / project["Source"]["BuildSpec"]).read_text())
    commands = [one for phase in spec["phases"].values() for one in phase["commands"]]
    assert not [one for one in commands if "$" in one]
    (uv,) = [found[1] for one in commands if (found := re.search(r"uv==(\S+)", one))]
    assert f"UV_VERSION := {uv}\n" in (ROOT / "Makefile").read_text()


def test_cfn_lint_finds_nothing() -> None:
    pytest.importorskip("cfnlint", reason="the extra `stand` is not installed")
    command = [str(Path(sys.executable).with_name("cfn-lint")), str(CLEW), str(FINISH)]
    regions = ["--regions", "eu-west-1", "us-east-1"]
    done = subprocess.run([*command, *regions], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
