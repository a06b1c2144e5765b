"""What jobs, endpoints and whoever starts them have to be allowed, in the words of IAM policies.

https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html
"""

from __future__ import annotations

from collections.abc import Iterable

from clew.account import Image, Right
from clew.config.model import SageMaker

LAYERS = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
WRITE_LOG = ("logs:CreateLogStream", "logs:PutLogEvents")
READ_LOG = ("logs:DescribeLogStreams", "logs:GetLogEvents")
USE_KEY = ("kms:Decrypt", "kms:GenerateDataKey")
CREATE_INTERFACE = "ec2:CreateNetworkInterface"
INTERFACES = (
    *(CREATE_INTERFACE, "ec2:CreateNetworkInterfacePermission"),
    *("ec2:DeleteNetworkInterface", "ec2:DeleteNetworkInterfacePermission"),
)
LOOK_AT_VPC = (  # of these AWS knows no resource
    *("ec2:DescribeDhcpOptions", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSecurityGroups"),
    *("ec2:DescribeSubnets", "ec2:DescribeVpcs"),
)
REGISTER = (
    *("sagemaker:CreateModelPackage", "sagemaker:CreateModelPackageGroup"),
    *("sagemaker:DescribeModelPackage", "sagemaker:ListModelPackages"),
    "sagemaker:UpdateModelPackage",
)
FIND = (  # of these AWS knows no resource
    *("sagemaker:ListArtifacts", "sagemaker:ListAssociations", "sagemaker:ListTrialComponents"),
    *("sagemaker:ListProcessingJobs", "sagemaker:ListTrainingJobs"),
)
OF_A_JOB = ("Create{}Job", "Describe{}Job", "Stop{}Job")


def job_rights(
    kind: str, settings: SageMaker, image: str, remote: str, tracking_uri: str
) -> list[Right]:
    """Return what the role of Training or Processing jobs needs; only processing writes data."""
    data = ("s3:GetObject", "s3:PutObject") if kind == "Processing" else ("s3:GetObject",)
    return [
        *_files(settings, settings.s3_prefix, ("s3:GetObject", "s3:PutObject")),
        *(_files(settings, remote, data) if remote.startswith("s3://") else ()),
        *_container(settings, image, f"{kind}Jobs"),
        *_network(settings),
        *_key(settings),
        *(Right("secretsmanager:GetSecretValue", arn) for arn in settings.secrets.values()),
        *(
            _each(("sagemaker:CallMlflowAppApi",), tracking_uri)
            if kind == "Training" and ":mlflow-app/" in tracking_uri
            else ()
        ),
    ]


def serving_rights(settings: SageMaker, image: str) -> list[Right]:
    """Return what the role of endpoints needs."""
    return [
        *_files(settings, f"{settings.s3_prefix}/jobs", ("s3:GetObject",)),
        *_container(settings, image, "Endpoints/*"),
        *_network(settings),
        *_key(settings),
    ]


def own_rights(settings: SageMaker, pipeline: str, group: str) -> list[Right]:
    """Return what whoever starts the jobs of a pipeline and registers its models needs.

    `group` is the model package group. What only endpoints take is asked for when one is deployed.
    """
    roles = {settings.role, settings.processing_role, settings.serving.role} - {None}
    rights = _files(settings, settings.s3_prefix, ("s3:GetObject", "s3:PutObject"))
    for kind in ("Training", "Processing"):
        actions = [f"sagemaker:{action.format(kind)}" for action in OF_A_JOB]
        job = _arn(settings, "sagemaker", f"{kind.lower()}-job/{pipeline}-*")
        rights += _each((*actions, "sagemaker:AddTags"), job)
        rights += _each(READ_LOG, _log_group(settings, f"{kind}Jobs"))
    for resource in (f"model-package-group/{group}", f"model-package/{group}/*"):
        rights += _each(REGISTER, _arn(settings, "sagemaker", resource))
    rights += _each(FIND, "*")
    for resource in ("artifact/*", f"experiment-trial-component/{pipeline}-*"):
        rights += _each(("sagemaker:AddAssociation",), _arn(settings, "sagemaker", resource))
    rights += _each(("sagemaker:CreateArtifact",), _arn(settings, "sagemaker", "artifact/*"))
    rights += _key(settings)  # what is written for jobs is encrypted with it
    return rights + [Right("iam:PassRole", role) for role in sorted(filter(None, roles))]


def _files(settings: SageMaker, uri: str, actions: Iterable[str]) -> list[Right]:
    bucket, _, prefix = uri.removeprefix("s3://").rstrip("/").partition("/")
    arn = f"arn:{settings.role.split(':')[1]}:s3:::{bucket}"
    files = f"{arn}/{prefix}/*" if prefix else f"{arn}/*"
    return [Right("s3:ListBucket", arn), *_each(actions, files)]


def _container(settings: SageMaker, image: str, logs: str) -> list[Right]:
    rights = _each(WRITE_LOG, _log_group(settings, logs))
    found = Image.of(image)
    if found is None or found.account != settings.role.split(":")[4]:
        return rights  # AWS's own registries are open to all
    repository = _arn(settings, "ecr", f"repository/{found.repository}")
    return [*rights, Right("ecr:GetAuthorizationToken", "*"), *_each(LAYERS, repository)]


def _network(settings: SageMaker) -> list[Right]:
    network = settings.network
    if not network.subnets:
        return []
    places = [f"subnet/{one}" for one in network.subnets]
    places += [f"security-group/{one}" for one in network.security_groups]
    return [
        *_each(LOOK_AT_VPC, "*"),
        *_each(INTERFACES, _arn(settings, "ec2", "network-interface/*")),
        *(Right(CREATE_INTERFACE, _arn(settings, "ec2", place)) for place in places),
    ]


def _key(settings: SageMaker) -> list[Right]:
    key = settings.kms_key or ""  # of an id or an alias the ARN is not known
    return _each(USE_KEY, key) if key.startswith("arn:") else []


def _log_group(settings: SageMaker, name: str) -> str:
    return _arn(settings, "logs", f"log-group:/aws/sagemaker/{name}:*")


def _each(actions: Iterable[str], resource: str) -> list[Right]:
    return [Right(action, resource) for action in actions]


def _arn(settings: SageMaker, service: str, resource: str) -> str:
    _, partition, _, _, account, *_ = settings.role.split(":")
    return f"arn:{partition}:{service}:{settings.region}:{account}:{resource}"
