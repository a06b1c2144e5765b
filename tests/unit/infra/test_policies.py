"""infra/clew.yaml grants what docs/aws-rights.md says, to whom it says, and nothing wide."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
TEMPLATE = ROOT / "infra/clew.yaml"
TABLE = ROOT / "docs/aws-rights.md"
ADAPTERS = ROOT / "scripts/clew/adapters"
ROLES = {
    "CiRole": "CI",
    "ProcessingRole": "processing",
    "TrainingRole": "training",
    "ServingRole": "serving",
    "PurgeRole": "purge",
    "TrackingRole": "MLflow App",
}
# Actions that take no resource, by AWS's Service Authorization Reference.
WITHOUT_RESOURCE = {
    "ecr:GetAuthorizationToken",
    *(
        f"sagemaker:List{what}"
        for what in (
            *("Artifacts", "Associations", "EndpointConfigs", "ModelPackages"),
            *("ProcessingJobs", "TrainingJobs", "TrialComponents"),
        )
    ),
}


class Grant(NamedTuple):
    role: str
    action: str
    resource: str


class Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short functions, each kept as `{name: argument}`."""


def _function(loader: Loader, suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return {suffix: loader.construct_scalar(node)}
    if isinstance(node, yaml.SequenceNode):
        return {suffix: loader.construct_sequence(node, deep=True)}
    return {suffix: loader.construct_mapping(node, deep=True)}  # type: ignore[arg-type]


Loader.add_multi_constructor("!", _function)
RESOURCES: dict[str, Any] = yaml.load(TEMPLATE.read_text(), Loader)["Resources"]


def shown(resource: Any) -> str:
    """Return a resource as the table writes it: what it is, and where in the bucket."""
    match resource:
        case {"GetAtt": "Store.Arn"}:
            return "the bucket"
        case {"GetAtt": name}:
            return f"the role of {ROLES[str(name).partition('.')[0]]}"
        case {"Ref": "Tracking"}:
            return "the MLflow App"
        case {"Sub": text}:
            text = str(text).replace("${Store.Arn}/", "")
            return (
                text.removeprefix("arn:${AWS::Partition}:").partition("${AWS::AccountId}:")[2]
                or text
            )
        case str():
            return resource
    raise AssertionError(resource)


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def statements(role: str) -> Iterator[dict[str, Any]]:
    properties = RESOURCES[role]["Properties"]
    for policy in properties.get("ManagedPolicyArns", ()):
        yield from RESOURCES[policy["Ref"]]["Properties"]["PolicyDocument"]["Statement"]
    for policy in properties.get("Policies", ()):
        yield from policy["PolicyDocument"]["Statement"]


def grants() -> set[Grant]:
    return {
        Grant(name, action, shown(resource))
        for role, name in ROLES.items()
        for statement in statements(role)
        for action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
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
    roles = {name for name, one in RESOURCES.items() if one["Type"] == "AWS::IAM::Role"}
    assert roles == set(ROLES)


def test_nothing_is_granted_by_wildcard() -> None:
    for grant in grants():
        assert "*" not in grant.action
        if grant.resource == "*":
            assert grant.action in WITHOUT_RESOURCE
        else:
            assert grant.action not in WITHOUT_RESOURCE


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


def test_the_purge_role_needs_a_second_factor() -> None:
    (statement,) = RESOURCES["PurgeRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Principal"] == {"AWS": {"Ref": "PurgePrincipal"}}
    assert statement["Condition"] == {"Bool": {"aws:MultiFactorAuthPresent": "true"}}


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


def test_cfn_lint_finds_nothing() -> None:
    pytest.importorskip("cfnlint", reason="the extra `stand` is not installed")
    command = [str(Path(sys.executable).with_name("cfn-lint")), str(TEMPLATE)]
    regions = ["--regions", "eu-west-1", "us-east-1"]
    done = subprocess.run([*command, *regions], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
