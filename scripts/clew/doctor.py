"""doctor: is all in order where jobs run, and what to fix before the first one is paid for."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any

from clew.account import Account, Identity, Image, Right
from clew.check import check
from clew.config.model import SageMaker
from clew.context import Context
from clew.errors import ClewError, ConfigError, Unverifiable
from clew.packages import group_name
from clew.prices import price_of
from clew.request import RunRequest
from clew.rights import job_rights, own_rights, serving_rights

HOST = re.compile(r"https?://(\[[^\]]+\]|[^/:]+)")
SERVICE = "sagemaker.amazonaws.com"
USABLE_APP = ("Created", "Updating", "Updated", "UpdateFailed")


class Verdict(StrEnum):
    OK = "ok"
    FAIL = "FAIL"
    UNKNOWN = "unknown"  # it could not be looked at, which is no yes


@dataclass(frozen=True)
class Finding:
    name: str
    verdict: Verdict
    detail: str
    fix: str = ""


Checks = Mapping[str, Callable[[], str]]


def doctor(context: Context, request: RunRequest, account: Account | None) -> Iterator[Finding]:
    """Yield what `clew check` finds, then what is found where jobs run; nothing is changed."""
    for result in check(context, request):
        verdict = Verdict.OK if result.passed else Verdict.FAIL
        yield Finding(result.name, verdict, result.detail, result.fix)
    settings = context.pipeline.executor.sagemaker
    if account is not None and settings is not None:
        yield from Examination(context, settings, account).findings()


class Examination:
    """One look at an AWS account, with the eyes of one pipeline."""

    def __init__(self, context: Context, settings: SageMaker, account: Account) -> None:
        self._context = context
        self._settings = settings
        self._account = account
        self._bucket = settings.s3_prefix.removeprefix("s3://").partition("/")[0]
        self._me = Identity("", "")

    def findings(self) -> Iterator[Finding]:
        """Yield each check's result; what needs credentials is left out without them."""
        known = _examined("AWS credentials", self._credentials)
        yield known
        for name, probe in self._of_the_account().items():
            if known.verdict is Verdict.OK:
                yield _examined(name, probe)
            else:
                yield Finding(name, Verdict.UNKNOWN, "it takes working AWS credentials")
        for name, probe in self._of_the_configuration().items():
            yield _examined(name, probe)

    def _of_the_account(self) -> Checks:
        settings = self._settings
        return {
            "bucket": self._where_the_bucket_is,
            "bucket versioning": self._versioning,
            "bucket encryption": self._encryption,
            **{name: partial(self._trust, role) for name, role in self._roles().items()},
            "own rights": self._own_rights,
            "rights of training": partial(self._job_rights, "Training", settings.role),
            "rights of processing": partial(
                self._job_rights, "Processing", settings.processing_role or settings.role
            ),
            "rights of endpoints": self._serving_rights,
            "job image": lambda: self._image(self._account.job_image(), "image"),
            "serving image": lambda: self._image(self._account.serving_image(), "serving.image"),
            **({"MLflow App": self._app} if self._has_app else {}),
            **{name: partial(self._quota, name, n) for name, n in self._wanted().items()},
            **({"KMS key": self._key} if settings.kms_key else {}),
            **({"network": self._network} if settings.network.subnets else {}),
        }

    def _of_the_configuration(self) -> Checks:
        checks = {"DVC remote in S3": self._remote, "budget": self._budget}
        return checks if self._has_app else {**checks, "MLflow from jobs": self._mlflow}

    # --- who, and where the data is ----------------------------------------------------------

    def _credentials(self) -> str:
        self._me = self._account.identity()
        wanted = self._settings.role.split(":")[4]
        if self._me.account != wanted:
            raise ConfigError(
                f"{self._me.arn} is of the account {self._me.account}, the jobs' role of {wanted}",
                fix="Use that account's credentials (AWS_PROFILE), or correct "
                "executor.sagemaker.role.",
            )
        return f"{self._me.arn}, region {self._settings.region}"

    def _where_the_bucket_is(self) -> str:
        region = self._account.bucket_region(self._bucket)
        if region is None:
            raise Unverifiable(f"{self._bucket} is there; S3 does not say in which region")
        if region != self._settings.region:
            raise ConfigError(
                f"{self._bucket} is in {region}, the jobs are in {self._settings.region}",
                fix="Name a bucket of that region in executor.sagemaker.s3_prefix: SageMaker takes "
                "no other.",
            )
        return f"{self._bucket} in {region}"

    def _versioning(self) -> str:
        if not self._account.is_versioned(self._bucket):
            raise ConfigError(
                f"{self._bucket} keeps no versions: what is overwritten is lost",
                fix=f"Run `aws s3api put-bucket-versioning --bucket {self._bucket} "
                "--versioning-configuration Status=Enabled`.",
            )
        return "on"

    def _encryption(self) -> str:
        if not self._account.is_encrypted(self._bucket):
            raise ConfigError(
                f"{self._bucket} does not encrypt what is written to it",
                fix="Set its default encryption with `aws s3api put-bucket-encryption`.",
            )
        return "on"

    def _remote(self) -> str:
        remote = self._context.store.remote()
        self._account.check_remote(remote)
        one, other = (f"{uri.rstrip('/')}/" for uri in (remote.url, self._settings.s3_prefix))
        if one.startswith(other) or other.startswith(one):
            raise ConfigError(
                f"the DVC remote {remote.shown_url} and executor.sagemaker.s3_prefix overlap",
                fix="Give each a prefix of its own: they need other rights, and other clean-up.",
            )
        return remote.shown_url

    # --- roles -------------------------------------------------------------------------------

    def _roles(self) -> dict[str, str]:
        settings = self._settings
        named = {"processing role": settings.processing_role, "serving role": settings.serving.role}
        return {"role": settings.role, **{name: arn for name, arn in named.items() if arn}}

    def _trust(self, role: str) -> str:
        if not trusts(self._account.trust_policy(role), SERVICE):
            raise ConfigError(
                f"SageMaker may not assume {role}",
                fix=f"Let its trust policy allow sts:AssumeRole to the service {SERVICE}.",
            )
        return role

    def _own_rights(self) -> str:
        pipeline = self._context.pipeline
        group = group_name(self._settings, pipeline.mlflow.model)
        return self._allowed(self._me.arn, own_rights(self._settings, pipeline.name, group))

    def _job_rights(self, kind: str, role: str) -> str:
        remote, uri = self._context.store.remote().url, self._context.pipeline.mlflow.tracking_uri
        image = self._account.job_image()
        return self._allowed(role, job_rights(kind, self._settings, image, remote, uri))

    def _serving_rights(self) -> str:
        role = self._settings.serving.role or self._settings.role
        return self._allowed(role, serving_rights(self._settings, self._account.serving_image()))

    def _allowed(self, principal: str, rights: list[Right]) -> str:
        denied = self._account.denied(principal, rights)
        if denied:
            lacking = ", ".join(f"{right.action} on {right.resource}" for right in denied)
            raise ConfigError(
                f"{principal} lacks {lacking}",
                fix=f"Allow it in a policy of {principal.rpartition('/')[2]}.",
            )
        return f"{len(rights)} simulated for {principal.rpartition('/')[2]}"

    # --- what jobs are made of ---------------------------------------------------------------

    def _image(self, uri: str, key: str) -> str:
        image = Image.of(uri)
        if image is None or image.region != self._settings.region:
            raise ConfigError(
                f"{uri} is not in ECR in {self._settings.region}: SageMaker takes no other image",
                fix=f"Push it there, and name it in executor.sagemaker.{key}.",
            )
        if image.account != self._me.account:
            raise Unverifiable(
                f"{uri} is in the registry of the account {image.account}, which tells its "
                "own account alone"
            )
        if not self._account.has_image(image):
            raise ConfigError(f"there is no image {uri}", fix=HOW_TO_MAKE[key])
        return uri

    @property
    def _has_app(self) -> bool:
        return ":mlflow-app/" in self._context.pipeline.mlflow.tracking_uri

    def _app(self) -> str:
        arn = self._context.pipeline.mlflow.tracking_uri
        status = self._account.app_status(arn)
        if status not in USABLE_APP:
            state = f"is {status}" if status else "does not exist"
            raise ConfigError(
                f"the MLflow App {arn} {state}",
                fix="Wait until it is Created, or name another in mlflow.tracking_uri.",
            )
        return f"{status}: {arn}"

    def _mlflow(self) -> str:
        uri = self._context.pipeline.mlflow.tracking_uri
        found = HOST.match(uri)
        if uri.startswith("arn:"):
            raise Unverifiable(f"the state of {uri}, which is no MLflow App")
        if found is None:
            raise unreachable(uri)
        host = found[1].strip("[]")
        if is_private(host):
            raise Unverifiable(
                f"whether jobs reach {host}, which is no public name",
                fix="A job has a way to it only in a VPC (executor.sagemaker.network) that leads "
                "there.",
            )
        return f"{host} is a public name"

    def _wanted(self) -> dict[str, int]:
        """Return how many instances at once each quota has to allow."""
        settings = self._settings
        kind, serving = settings.instance.type, settings.serving.instance
        training = "spot training" if settings.spot else "training"
        wanted = {f"{kind} for {training} job usage": settings.instance.count}
        if self._context.pipeline.data.stages:
            wanted[f"{kind} for processing job usage"] = 1
        if settings.keep_alive_minutes:
            wanted[f"{kind} for training warm pool usage"] = settings.instance.count
        return {**wanted, f"{serving.type} for endpoint usage": serving.count}

    def _quota(self, name: str, wanted: int) -> str:
        found = self._account.quotas(tuple(self._wanted())).get(name)
        if found is None:
            raise Unverifiable(
                f"the account has no such quota of its own in {self._settings.region}",
                fix="See Service Quotas, Amazon SageMaker; is the instance type spelt right?",
            )
        if found < wanted:
            raise ConfigError(
                f"{found:g} instances are allowed, {wanted} are needed",
                fix=f"Ask AWS to raise '{name}' to {wanted}: Service Quotas, Amazon SageMaker, "
                f"{self._settings.region}.",
            )
        return f"{found:g} instances"

    def _key(self) -> str:
        key = self._settings.kms_key or ""
        state = self._account.key_state(key)
        if state != "Enabled":
            raise ConfigError(
                f"the KMS key {key} {f'is {state}' if state else 'does not exist'}",
                fix="Enable it, or name another in executor.sagemaker.kms_key.",
            )
        return key

    def _network(self) -> str:
        network = self._settings.network
        found = self._account.networks(network.subnets, network.security_groups)
        absent = [
            name for name in (*network.subnets, *network.security_groups) if name not in found
        ]
        vpcs = sorted(set(found.values()))
        if absent or len(vpcs) > 1:
            what = f"there is no {', '.join(absent)}" if absent else f"more than one VPC: {vpcs}"
            raise ConfigError(
                f"{what} in {self._settings.region}",
                fix="Correct executor.sagemaker.network: subnets and security groups of one VPC.",
            )
        return f"{len(network.subnets)} subnets in {vpcs[0]}"

    def _budget(self) -> str:
        budget = self._settings.budget
        if budget.per_run_usd is None and budget.per_month_usd is None:
            return "none is set"
        if (budget.per_run_usd or 0) > (budget.per_month_usd or float("inf")):
            raise ConfigError(
                f"one run may cost {budget.per_run_usd:g} USD, a whole month "
                f"{budget.per_month_usd:g}",
                fix="Correct executor.sagemaker.budget.",
            )
        kind = self._settings.instance.type
        if price_of(kind, self._settings.prices) is None:
            raise ConfigError(
                f"a budget is set, and no price of {kind} is known",
                fix="Add it to executor.sagemaker.prices, in USD per hour.",
            )
        limits = {"a run": budget.per_run_usd, "a month": budget.per_month_usd}
        return ", ".join(f"{usd:g} USD {per}" for per, usd in limits.items() if usd is not None)


HOW_TO_MAKE = {
    "image": "Build and push it (image/README.md), or correct executor.sagemaker.image.",
    "serving.image": "Run `mlflow sagemaker build-and-push-container` once, or name another in "
    "executor.sagemaker.serving.image.",
}


def _examined(name: str, probe: Callable[[], str]) -> Finding:
    try:
        return Finding(name, Verdict.OK, probe())
    except Unverifiable as error:
        return Finding(name, Verdict.UNKNOWN, error.what, error.fix)
    except ClewError as error:
        return Finding(name, Verdict.FAIL, error.what, error.fix)


def unreachable(tracking_uri: str) -> ConfigError:
    """Return what to say of an MLflow that only this machine has."""
    return ConfigError(
        f"a SageMaker job can't reach MLflow at {tracking_uri}",
        fix="Set mlflow.tracking_uri, or MLFLOW_TRACKING_URI, to a server or a MLflow App.",
    )


def trusts(policy: Mapping[str, Any], service: str) -> bool:
    """Tell whether a trust policy lets an AWS service assume the role."""
    for statement in _several(policy.get("Statement")):
        principal, actions = statement.get("Principal"), _several(statement.get("Action"))
        services = _several(principal.get("Service") if isinstance(principal, dict) else principal)
        may = {"sts:assumerole", "sts:*", "*"} & {action.lower() for action in actions}
        if statement.get("Effect") == "Allow" and may and {service, "*"} & set(services):
            return True
    return False


def _several(value: Any) -> list[Any]:
    """Return a value of a policy, where one thing may stand for a list of one."""
    return value if isinstance(value, list) else [] if value is None else [value]


def is_private(host: str) -> bool:
    """Tell whether a host's name or address means something on its own network only."""
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return "." not in host or host.endswith((".local", ".internal", ".localhost"))
