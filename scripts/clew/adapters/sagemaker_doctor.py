"""What an AWS account says about itself: who asks, what there is, what is allowed."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

from clew.account import Account, Identity, Image, Right
from clew.adapters.aws import DENIED, Aws, code_of, message_of, translated
from clew.adapters.ecr import has_image
from clew.adapters.sagemaker import framework_image, remote_for_job
from clew.adapters.sagemaker_packages import default_image
from clew.config.model import SageMaker
from clew.errors import ConfigError, OutsideError, Unverifiable
from clew.ports import RemoteConfig

P = ParamSpec("P")
R = TypeVar("R")
ATTEMPTS = 3  # of one call: a question can be asked again by hand
SECONDS = 20  # for one answer
REFUSED = 403
NOT_THERE = ("404", "NoSuchBucket")
NO_ENCRYPTION = "ServerSideEncryptionConfigurationNotFoundError"
PASSED = {  # what a condition on iam:PassRole usually asks for
    "ContextKeyName": "iam:PassedToService",
    "ContextKeyType": "string",
    "ContextKeyValues": ["sagemaker.amazonaws.com"],
}


def asked(call: Callable[P, R]) -> Callable[P, R]:
    """Decorate a question: where AWS gives no answer, or may not give it, that is Unverifiable."""

    @translated
    def ask(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return call(*args, **kwargs)
        except Exception as error:
            if code_of(error) in DENIED:
                raise Unverifiable(message_of(error)) from error
            raise

    @functools.wraps(call)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return ask(*args, **kwargs)
        except OutsideError as error:
            raise Unverifiable(error.what) from error

    return wrapper


class Impatient(Aws):
    """AWS for questions."""

    @functools.cache  # noqa: B019  # lives as long as the command
    def client(self, service: str) -> Any:
        from botocore.config import Config

        retries = {"mode": "standard", "max_attempts": ATTEMPTS}
        config = Config(retries=retries, connect_timeout=5, read_timeout=SECONDS)
        return self._session.client(service, config=config)


class SageMakerAccount(Account):
    """The account that executor.sagemaker names; nothing in it is changed."""

    def __init__(self, settings: SageMaker) -> None:
        self._settings = settings
        self._aws = Impatient(settings.region)

    @translated
    def identity(self) -> Identity:
        from botocore.exceptions import ClientError

        try:
            found = self._aws.client("sts").get_caller_identity()
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != REFUSED:
                raise
            raise ConfigError(
                f"AWS does not take the credentials: {message_of(error)}",
                fix="Renew them: run `aws sso login` or `aws configure`, or give the CI job an "
                "OIDC role.",
            ) from error
        return Identity(found["Arn"], found["Account"])

    @asked
    def bucket_region(self, bucket: str) -> str | None:
        from botocore.exceptions import ClientError

        try:
            found = self._aws.client("s3").head_bucket(Bucket=bucket)
        except ClientError as error:
            if code_of(error) in (*NOT_THERE, *DENIED):  # S3 gives no more words to a HEAD
                absent = code_of(error) in NOT_THERE
                why = "does not exist" if absent else "is another account's, or you may not list it"
                raise ConfigError(
                    f"the bucket {bucket} {why}",
                    fix=f"Create it in {self._settings.region}, allow s3:ListBucket on it, or "
                    "correct executor.sagemaker.s3_prefix.",
                ) from error
            raise
        region: str | None = found.get("BucketRegion")
        return region

    @asked
    def is_versioned(self, bucket: str) -> bool:
        found = self._aws.client("s3").get_bucket_versioning(Bucket=bucket)
        return bool(found.get("Status") == "Enabled")

    @asked
    def is_encrypted(self, bucket: str) -> bool:
        from botocore.exceptions import ClientError

        try:
            self._aws.client("s3").get_bucket_encryption(Bucket=bucket)
        except ClientError as error:
            if code_of(error) == NO_ENCRYPTION:
                return False
            raise
        return True

    def check_remote(self, remote: RemoteConfig) -> None:
        remote_for_job(remote)

    @asked
    def trust_policy(self, role: str) -> Mapping[str, Any]:
        from botocore.exceptions import ClientError

        try:
            found = self._aws.client("iam").get_role(RoleName=role.rpartition("/")[2])["Role"]
        except ClientError as error:
            if code_of(error) == "NoSuchEntity":
                raise _no_role(role) from error
            raise
        if found["Arn"] != role:  # of the same name, under another path
            raise _no_role(role)
        policy: Mapping[str, Any] = found["AssumeRolePolicyDocument"]
        return policy

    @asked
    def denied(self, principal: str, rights: Sequence[Right]) -> list[Right]:
        simulate = self._aws.client("iam").get_paginator("simulate_principal_policy").paginate
        actions: dict[str, list[str]] = defaultdict(list)
        for right in rights:
            actions[right.resource].append(right.action)
        denied: list[Right] = []
        undecided: list[Right] = []
        for resource, wanted in actions.items():
            pages = simulate(
                PolicySourceArn=self._policies_of(principal),
                ActionNames=wanted,
                ResourceArns=[resource],
                ContextEntries=[PASSED],
            )
            for found in (row for page in pages for row in page["EvaluationResults"]):
                if found["EvalDecision"] != "allowed":
                    lot = undecided if found.get("MissingContextValues") else denied
                    lot.append(Right(found["EvalActionName"], resource))
        if undecided and not denied:
            raise Unverifiable(
                f"conditions of a policy decide on {', '.join(right.action for right in undecided)}"
            )
        return denied

    def _policies_of(self, principal: str) -> str:
        """Return whose policies count: for a session of a role, the role's."""
        if ":assumed-role/" not in principal:
            return principal
        name = principal.split("/")[1]
        role: str = self._aws.client("iam").get_role(RoleName=name)["Role"]["Arn"]
        return role

    def job_image(self) -> str:
        image = self._settings.image
        return image if isinstance(image, str) else framework_image(image, self._settings)

    def serving_image(self) -> str:
        return self._settings.serving.image or default_image(self._settings)

    @asked
    def has_image(self, image: Image) -> bool:
        return has_image(self._aws, image)

    @asked
    def app_status(self, arn: str) -> str | None:
        from botocore.exceptions import ClientError

        try:
            found = self._aws.client("sagemaker").describe_mlflow_app(Arn=arn)
        except ClientError as error:
            if code_of(error) == "ResourceNotFound":
                return None
            raise
        return str(found["Status"])

    @functools.cache  # noqa: B019  # AWS has thousands of them, a hundred to a page
    @asked
    def quotas(self, names: Sequence[str]) -> Mapping[str, float]:
        client = self._aws.client("service-quotas")
        pages = client.get_paginator("list_service_quotas").paginate(
            ServiceCode="sagemaker", PaginationConfig={"PageSize": 100}
        )
        found: dict[str, float] = {}
        for row in (row for page in pages for row in page["Quotas"]):
            if row["QuotaName"] in names:
                found[row["QuotaName"]] = row["Value"]
                if len(found) == len(names):
                    break
        return found

    @asked
    def key_state(self, key: str) -> str | None:
        from botocore.exceptions import ClientError

        try:
            found = self._aws.client("kms").describe_key(KeyId=key)
        except ClientError as error:
            if code_of(error) == "NotFoundException":
                return None
            raise
        return str(found["KeyMetadata"]["KeyState"])

    @asked
    def networks(self, subnets: Sequence[str], groups: Sequence[str]) -> Mapping[str, str]:
        client = self._aws.client("ec2")
        # By filter, since by id the first that is absent would be all that is said.
        of_subnets = [{"Name": "subnet-id", "Values": list(subnets)}]
        of_groups = [{"Name": "group-id", "Values": list(groups)}]
        found = {
            row["SubnetId"]: row["VpcId"]
            for row in client.describe_subnets(Filters=of_subnets)["Subnets"]
        }
        rows = client.describe_security_groups(Filters=of_groups)["SecurityGroups"]
        return found | {row["GroupId"]: row["VpcId"] for row in rows}


def _no_role(role: str) -> ConfigError:
    return ConfigError(
        f"there is no role {role}", fix="Create it, or correct its ARN in executor.sagemaker."
    )
