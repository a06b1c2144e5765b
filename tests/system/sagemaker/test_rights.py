"""infra/clew.yaml allows each role what it does on AWS, and nothing that it never does.

One story under the roles of the stack tells it all: clew runs as CI, its jobs under roles of their
own, and what ended while nobody waited is finished as CodeBuild does it.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest

from clew.rights import INTERFACES, LOOK_AT_VPC
from tests.system.people import SUBJECTS, make_people
from tests.system.sagemaker.cloud import Cloud, make_cloud
from tests.system.sagemaker.test_deploy import MODEL, TRAIN
from tests.unit.infra.stack import ROLES, ROOT, Grant, Stack, grants

if TYPE_CHECKING:
    from tests.stand import Stand as Rehearsal
    from tests.system.small import Small

pytestmark = pytest.mark.slow
Call = dict[str, Any]
NAME = "rights"  # of the pipeline, and what its endpoints begin with
LIVE = ("--endpoint", f"{NAME}-live")
SECTION = """\
    processing_role: {processing}
    serving: {{role: {serving}}}
    budget: {{per_run_usd: 100, per_month_usd: 1000}}
"""
UNPACK = """\
  unpack:
    cmd: cp data/origin.txt data/raw.txt
    deps: [data/origin.txt]
    outs: [data/raw.txt]
"""
NOTE = """\
import os
run = os.environ["MLFLOW_RUN_ID"]
mlflow.MlflowClient().log_dict(run, {"lr": lr}, "notes.json")
mlflow.artifacts.load_dict(f"runs:/{run}/notes.json")
"""
PRINCIPALS = {
    "clew-ci": "CiRole",
    "clew-processing": "ProcessingRole",
    "clew-training": "TrainingRole",
    "clew-serving": "ServingRole",
}
FREE = ("sts:GetCallerIdentity",)  # needs no right
# These are sent with tags, for which SageMaker asks for AddTags besides.
TAGGED = (
    *("CreateProcessingJob", "CreateTrainingJob", "CreateModelPackageGroup"),
    *("CreateModel", "CreateEndpointConfig", "CreateEndpoint"),
)
PASSED = ("RoleArn", "ExecutionRoleArn")  # for which it asks for iam:PassRole
LAYERS = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
WRITE_LOG = ("logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents")
JOBS = ("processing", "training")
UNSEEN = {  # what no call of the story needs, and why it is given all the same
    (role, action, ""): why
    for roles, actions, why in (
        (
            (*JOBS, "serving"),
            (*LAYERS, "ecr:GetAuthorizationToken"),
            "the stand pulls no images",
        ),
        (
            (*JOBS, "serving"),
            ("logs:DescribeLogStreams",),
            "docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html asks for it",
        ),
        (("serving",), WRITE_LOG, "the stand keeps no logs of endpoints"),
        (
            ("CI", "training"),
            ("sagemaker:CallMlflowAppApi",),
            "the stand's App is an MLflow server",
        ),
        (("CI",), ("sagemaker:DeleteArtifact",), "only where two runs make one at the same moment"),
        (
            ("CI", *JOBS, "serving"),
            ("kms:CreateGrant", "kms:Decrypt", "kms:GenerateDataKey"),
            "SageMaker and S3 use the key, not clew; and only a stack with KmsKey gives it",
        ),
        (
            (*JOBS, "serving"),
            (*INTERFACES, *LOOK_AT_VPC),
            "SageMaker joins the VPC, not clew; and only a stack with InVpc gives it",
        ),
        (JOBS, ("secretsmanager:GetSecretValue",), "only a stack with Secrets gives it"),
    )
    for role in roles
    for action in actions
}


# --- the story -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def calls(
    fresh: Small, stand: Rehearsal, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Call]]:
    """Every call of the story under one of the stack's roles."""
    begun = len(stand.client.calls())
    cloud = as_ci(make_cloud(fresh, tmp_path_factory.mktemp("rights") / "copy", stand, NAME))
    prepare(cloud)
    finished_by_others(cloud)
    cloud.answer("deploy", f"models:/{NAME}-model/1", *LIVE)
    judged_anew(cloud)
    replaced(cloud)
    reaped(cloud)
    asked_about(cloud)
    told = stand.client.calls()[begun:]
    yield [call for call in told if role_of(call)]
    stand.client.no_faults()


def as_ci(cloud: Cloud) -> Cloud:
    """Let clew run with the keys that GitHub's OIDC token is exchanged for."""
    sts, role = cloud.stand.boto3("sts"), cloud.stand.roles["clew-ci"]
    keys = sts.assume_role(RoleArn=role, RoleSessionName="github")["Credentials"]
    names = {
        "AWS_ACCESS_KEY_ID": "AccessKeyId",
        "AWS_SECRET_ACCESS_KEY": "SecretAccessKey",
        "AWS_SESSION_TOKEN": "SessionToken",
    }
    extra = {variable: keys[name] for variable, name in names.items()}
    return dataclasses.replace(
        cloud, extra=extra | {"MLFLOW_TRACKING_URI": cloud.stand.mlflow_app_arn}
    )


def prepare(cloud: Cloud) -> None:
    """Lay the bucket out as the stack does, with a model to be served and data added by hand."""
    stand = cloud.stand
    cloud.edit("pipeline.yaml", f"s3://{stand.s3_bucket}/{NAME}/", f"s3://{stand.s3_bucket}/")
    roles = {one: stand.roles[f"clew-{one}"] for one in ("processing", "serving")}
    with (cloud.work / "pipeline.yaml").open("a") as file:
        file.write(SECTION.format(**roles))
    cloud.dvc("remote", "modify", "storage", "url", f"s3://{stand.s3_bucket}/dvc")
    (cloud.work / "stages/train.py").write_text(TRAIN + NOTE)
    (cloud.work / "stages/constant.txt").write_text(MODEL)
    cloud.git("rm", "-q", "--cached", "data/raw.txt")
    (cloud.work / "data/raw.txt").rename(cloud.work / "data/origin.txt")
    cloud.dvc("add", "-q", "data/origin.txt")
    cloud.edit("dvc.yaml", "stages:\n  prepare:", f"stages:\n{UNPACK}  prepare:")
    cloud.commit("Use the stack")


def finished_by_others(cloud: Cloud) -> None:
    """Start and leave: what follows the end of each job is another machine's."""
    cloud.run("--detach")
    (processing,) = cloud.jobs("Processing")
    assert cloud.clew("wait", processing).returncode == 0
    finish(cloud, processing, "Processing")
    (training,) = cloud.jobs()
    assert cloud.clew("wait", training).returncode == 0
    finish(cloud, training, "Training")
    (version,) = cloud.versions()
    assert set(cloud.mlflow().get_model_version(version.name, "1").aliases) == {
        "candidate",
        "production",
    }


def finish(cloud: Cloud, job: str, kind: str) -> str:
    """Do what buildspec.yml does, in a clone of its own; return what it said."""
    other = dataclasses.replace(cloud, place=f"build-{job}")
    cloud.git("clone", "-q", str(cloud.origin), str(other.work), cwd=cloud.folder)
    environment = other.environment | {"CLEW_JOB_ARN": cloud.describe(job, kind)[f"{kind}JobArn"]}
    command = [sys.executable, str(ROOT / "infra/finish.py")]
    done = subprocess.run(command, cwd=other.work, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr + cloud.all_logs()
    return done.stdout


def judged_anew(cloud: Cloud) -> None:
    """A gate that is changed refuses the same model."""
    cloud.git("pull", "-q", "origin", "main")
    cloud.edit("pipeline.yaml", "min: 0.3", "min: 0.9")
    cloud.commit("Ask for more")
    refused = cloud.clew("run")
    assert refused.returncode == 1, refused.stderr
    cloud.edit("pipeline.yaml", "min: 0.9", "min: 0.3")
    cloud.edit("params.yaml", "lr: 0.5", "lr: 0.6")
    cloud.commit("Ask for less, and train another")
    cloud.run()


def replaced(cloud: Cloud) -> None:
    cloud.answer("deploy", f"models:/{NAME}-model/2", *LIVE)
    assert cloud.answer("trace", f"endpoint://{LIVE[1]}")["verdict"] == "PASS"
    cloud.answer("undeploy", *LIVE)


def reaped(cloud: Cloud) -> None:
    """Jobs that no run waits for any more are stopped; no commit has the params of the first."""
    cloud.stand.client.slow_start(seconds=120, job=f"{NAME}-*", times=2)
    cloud.run("--detach", "--param", "train.lr=0.55")
    assert "nothing is pending" in finish(cloud, cloud.jobs()[-1], "Training")
    assert len(cloud.jobs()) == 3
    stop(cloud, "train")
    cloud.edit("params.yaml", "count: 5", "count: 6")
    cloud.commit("Make more data")
    cloud.run("--detach")
    stop(cloud, "process")


def stop(cloud: Cloud, stage: str) -> None:
    (run,) = (one for one in cloud.runs(stage) if one.info.status == "RUNNING")
    cloud.mlflow().delete_run(run.info.run_id)
    assert [job["reaped"] for job in cloud.answer("jobs", "--reap")] == ["stopped"]


def asked_about(cloud: Cloud) -> None:
    """Where a person's records are live is asked of SageMaker when MLflow has a model no more."""
    make_people(cloud)
    cloud.run()
    cloud.answer("deploy", f"models:/{NAME}-model/3", *LIVE)
    cloud.mlflow().delete_model_version(f"{NAME}-model", "3")
    asked = cloud.clew("audit", "subject", SUBJECTS[0], "--json")
    assert asked.returncode == 3, asked.stderr  # the models before were of no records
    (model,) = json.loads(asked.stdout)["models"]
    assert (model["deleted"], model["live"]) == ("version", [f"endpoint {LIVE[1]}"])


# --- what it shows -------------------------------------------------------------------------------


def role_of(call: Call) -> str | None:
    return PRINCIPALS.get(str(call["principal"]).rpartition("/")[2])


@pytest.fixture(scope="module")
def stack(stand: Rehearsal) -> Stack:
    names = {
        "AWS::Partition": "aws",
        "AWS::Region": stand.region,
        "AWS::AccountId": stand.account,
        "Pipeline": NAME,
        "ModelPackageGroup": f"{NAME}-model",
        "EndpointPrefix": NAME,
        "Store.Arn": f"arn:aws:s3:::{stand.s3_bucket}",
        "Tracking": stand.mlflow_app_arn,
        "KmsKey": "none",
        "Secrets": "none",
    }
    roles = {f"{role}.Arn": stand.roles[name] for name, role in PRINCIPALS.items()}
    return Stack(names | roles)


@pytest.fixture(scope="module")
def needed(stand: Rehearsal, calls: list[Call]) -> list[tuple[str, str, str]]:
    """Role, action and resource of each right that the story took."""
    reference = files("cfnlint") / "data/AdditionalSpecs/Policies.json"
    actions = json.loads(reference.read_text())["sagemaker"]["Actions"]
    found = set()
    for call in calls:
        role, action = role_of(call), call["action"]
        assert role is not None
        if action in FREE:
            continue
        resources = list(arns(stand, call, actions))
        found |= {(role, action, resource) for resource in resources}
        if call["operation"] in TAGGED:
            found |= {(role, "sagemaker:AddTags", resource) for resource in resources}
        found |= {
            (role, "iam:PassRole", call["resource"][n]) for n in PASSED if n in call["resource"]
        }
    return sorted(found)


def arns(stand: Rehearsal, call: Call, actions: dict[str, Any]) -> Iterator[str]:
    """Yield what a call's right has to be given on, by AWS's Service Authorization Reference."""
    service, named = call["action"].partition(":")[0], call["resource"]
    front = f"arn:aws:{service}:{stand.region}:{stand.account}"
    if service == "s3":
        yield "/".join(filter(None, (f"arn:aws:s3:::{named['Bucket']}", named.get("Key"))))
    elif service == "logs":
        stream = f"log-stream:{named['logStreamName']}" if "logStreamName" in named else "*"
        yield f"{front}:log-group:{named['logGroupName']}:{stream}"
    elif service == "ecr":
        yield f"{front}:repository/{named['repositoryName']}"
    else:
        kinds = actions[call["operation"].lower()].get("Resources")
        yield from of_kinds(front, kinds, named) if kinds else ["*"]


def of_kinds(front: str, kinds: list[str], named: dict[str, str]) -> list[str]:
    own = {name: value for name, value in named.items() if name not in PASSED}
    found = [value for value in own.values() if str(value).startswith("arn:")]
    for kind in kinds:
        name = own.get(f"{kind.title().replace('-', '')}Name")
        if name and not name.startswith("arn:"):
            found.append(f"{front}:{kind}/{name}")
    if not found and "model-package" in kinds:
        found.append(f"{front}:model-package/{own['ModelPackageGroupName']}/1")
    assert found, (kinds, named)
    return found


def test_every_role_may_do_what_it_does(stack: Stack, needed: list[tuple[str, str, str]]) -> None:
    assert [right for right in needed if not stack.allowing(*right)] == []


def test_which_endpoints_there_are_may_be_looked_at_whoever_made_them(stack: Stack) -> None:
    others = "arn:aws:sagemaker:eu-west-1:123456789012:endpoint/another-team"
    for action in ("sagemaker:DescribeEndpoint", "sagemaker:ListTags"):
        assert stack.allowing("CiRole", action, others)
    assert not stack.allowing("CiRole", "sagemaker:UpdateEndpoint", others)


def test_no_role_may_do_more(stack: Stack, needed: list[tuple[str, str, str]]) -> None:
    used = {told(grant) for right in needed for grant in stack.allowing(*right)}
    tested = {ROLES[role] for role in PRINCIPALS.values()}
    given = {told(grant) for grant in grants() if grant.role in tested}
    assert sorted(given - used) == sorted(UNSEEN)


def told(grant: Grant) -> tuple[str, str, str]:
    """Return a grant by its action; in S3 the place counts too."""
    return (*grant[:2], grant.resource if grant.action.startswith("s3:") else "")
