"""Requests for SageMaker jobs: valid by AWS's own model, or refused with the offender named."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from clew.adapters import sagemaker_requests as requests
from clew.adapters.pace import Pace
from clew.adapters.sagemaker import framework_image, kind_of, remote_for_job
from clew.adapters.sagemaker_endpoints import SageMakerEndpoints
from clew.config.model import FrameworkImage, Instance, Network, SageMaker, Spot
from clew.errors import ConfigError
from clew.ports import JobSpec, RemoteConfig

IMAGE = f"763104351884.dkr.ecr.eu-west-1.amazonaws.com/pytorch-training@sha256:{'a' * 64}"
PLACES = requests.Places(
    "s3://b/code/x.tar.gz", "s3://b/jobs/j/job.json", "s3://b/jobs", "s3://b/c"
)
LEAST = SageMaker(
    role="arn:aws:iam::123456789012:role/clew-training",
    region="eu-west-1",
    s3_prefix="s3://b",
    image=IMAGE,
    instance=Instance("ml.m5.large"),
)
MOST = dataclasses.replace(
    LEAST,
    instance=Instance("ml.p3.16xlarge", 4, 500),
    spot=Spot(max_wait_hours=48),
    distribution="torchrun",
    network=Network(("subnet-0a1b",), ("sg-0a1b",)),
    kms_key="arn:aws:kms:eu-west-1:123456789012:key/1234-abcd",
    tags={"team": "vision", "cost centre": "4711"},
    environment={"OMP_NUM_THREADS": "4"},
    retries=5,
)
WARM = dataclasses.replace(LEAST, keep_alive_minutes=15)
MAKERS = {"Training": requests.training, "Processing": requests.processing}


def spec(**change: Any) -> JobSpec:
    given: dict[str, Any] = {
        "name": "small-train-0123456789ab-1",
        "bundle": Path("bundle.tar"),
        "bundle_sha256": "0" * 64,
        "workdir": ".",
        "stages": ("train",),
        "remote": RemoteConfig("storage", "s3://b/dvc"),
        "environment": {"CLEW_RUN_ID": "f" * 32},
        "hyperparameters": {"train.lr": "0.5"},
        "tags": {"clew:pipeline": "small"},
    }
    return JobSpec(**given | change)


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("settings", [LEAST, MOST, WARM], ids=["least", "most", "warm"])
def test_aws_takes_the_request(kind: str, settings: SageMaker) -> None:
    if not all(map(importlib.util.find_spec, ("botocore", "regex"))):
        pytest.skip("the extra `stand` is not installed")
    from tests.stand.validation import check_request

    longest = 672 * 3600  # of executor.sagemaker.max_runtime_hours
    for wanted in (spec(), spec(max_seconds=longest)):
        request = MAKERS[kind](wanted, settings, IMAGE, PLACES)
        check_request("sagemaker", f"Create{kind}Job", request)


def test_each_kind_of_job_has_its_role() -> None:
    own = dataclasses.replace(LEAST, processing_role="arn:aws:iam::123456789012:role/other")
    assert requests.processing(spec(), own, IMAGE, PLACES)["RoleArn"] == own.processing_role
    assert requests.training(spec(), own, IMAGE, PLACES)["RoleArn"] == own.role
    assert requests.processing(spec(), LEAST, IMAGE, PLACES)["RoleArn"] == LEAST.role


def test_training_says_what_the_pipeline_wants() -> None:
    request = requests.training(spec(max_seconds=7200), MOST, IMAGE, PLACES)
    assert request["StoppingCondition"] == {
        "MaxRuntimeInSeconds": 7200,
        "MaxWaitTimeInSeconds": 48 * 3600,
    }
    assert request["EnableManagedSpotTraining"]
    assert request["CheckpointConfig"]["S3Uri"] == "s3://b/c"
    assert request["RetryStrategy"] == {"MaximumRetryAttempts": 5}
    assert request["Environment"] == {"OMP_NUM_THREADS": "4", "CLEW_RUN_ID": "f" * 32}
    none = dataclasses.replace(MOST, retries=0)
    assert "RetryStrategy" not in requests.training(spec(), none, IMAGE, PLACES)
    assert requests.processing(spec(), MOST, IMAGE, PLACES)["Environment"]["OMP_NUM_THREADS"]
    assert request["ResourceConfig"]["InstanceCount"] == 4
    assert request["ResourceConfig"]["VolumeKmsKeyId"] == MOST.kms_key
    assert request["OutputDataConfig"]["KmsKeyId"] == MOST.kms_key
    assert request["VpcConfig"] == {"Subnets": ["subnet-0a1b"], "SecurityGroupIds": ["sg-0a1b"]}
    assert json.loads(request["HyperParameters"]["sagemaker_torch_distributed_enabled"])
    assert {tag["Key"] for tag in request["Tags"]} == {"team", "cost centre", "clew:pipeline"}
    warm = requests.training(spec(), WARM, IMAGE, PLACES)
    assert warm["ResourceConfig"]["KeepAlivePeriodInSeconds"] == 900


@pytest.mark.parametrize(
    ("kind", "keyed"),
    [
        *((kind, True) for kind in ("ml.m5.xlarge", "ml.c6i.large", "ml.p3.2xlarge")),
        *((kind, False) for kind in ("ml.g5.xlarge", "ml.p4d.24xlarge", "ml.p3dn.24xlarge")),
        *((kind, False) for kind in ("ml.g4dn.xlarge", "ml.m5d.large", "ml.trn1.2xlarge")),
        *((kind, False) for kind in ("ml.p5.48xlarge", "ml.p5e.48xlarge", "ml.p5en.48xlarge")),
    ],
)
def test_machines_with_disks_of_their_own_take_no_key(kind: str, keyed: bool) -> None:
    machine = dataclasses.replace(MOST.instance, type=kind)
    settings = dataclasses.replace(MOST, instance=machine)
    request = requests.training(spec(), settings, IMAGE, PLACES)
    assert ("VolumeKmsKeyId" in request["ResourceConfig"]) is keyed


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"name": "n" * 64}, "n" * 64),
        ({"environment": {"LONG": "x" * 513}}, "LONG"),
        ({"environment": {f"V{n:03}": "" for n in range(101)}}, "from V"),
        ({"environment": {"not a name": ""}}, "not a name"),
        ({"tags": {f"tag{n}": "" for n in range(51)}}, "50 tags"),
        ({"tags": {"clew:pipeline": "what?"}}, "clew:pipeline"),
    ],
)
def test_a_limit_is_refused_by_name(kind: str, change: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=r"SageMaker|AWS") as refused:
        MAKERS[kind](spec(**change), LEAST, IMAGE, PLACES)
    assert named in refused.value.what
    assert refused.value.fix


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"train.classes": "x" * 2501}, "train.classes"),
        ({f"p{n:03}": "1" for n in range(96)}, "from "),
        ({"k" * 257: "1"}, "k" * 257),
    ],
)
def test_a_hyperparameter_over_its_limit_is_refused_by_name(
    params: dict[str, str], named: str
) -> None:
    with pytest.raises(ConfigError, match="hyperparameter") as refused:
        requests.training(spec(hyperparameters=params), LEAST, IMAGE, PLACES)
    assert named in refused.value.what


@pytest.mark.parametrize("kind", MAKERS)
def test_what_aws_models_allow_at_most_passes(kind: str) -> None:
    characters = {"Training": 512, "Processing": 256}[kind]
    entries = {"Training": 100, "Processing": 99}[kind]  # where the base folder is one more
    environment = {f"V{n:03}": "x" * characters for n in range(entries)}
    request = MAKERS[kind](spec(environment=environment, name="n" * 63), LEAST, IMAGE, PLACES)
    assert len(request["Environment"]) == 100


def test_network_isolation_is_refused() -> None:
    alone = dataclasses.replace(LEAST, network=Network(isolation=True))
    for make in MAKERS.values():
        with pytest.raises(ConfigError, match=r"network\.isolation"):
            make(spec(), alone, IMAGE, PLACES)


def test_warm_instances_and_spot_exclude_each_other() -> None:
    both = dataclasses.replace(WARM, spot=Spot(max_wait_hours=1))
    with pytest.raises(ConfigError, match="keep_alive_minutes"):
        requests.training(spec(), both, IMAGE, PLACES)


def test_a_job_gets_no_key_of_the_remote() -> None:
    options = {"access_key_id": "AKIA", "secret_access_key": "s", "endpointurl": "http://s3"}
    found = remote_for_job(RemoteConfig("storage", "s3://b/dvc", options))
    assert found == {
        "name": "storage",
        "url": "s3://b/dvc",
        "options": {"endpointurl": "http://s3"},
    }


@pytest.mark.parametrize("url", ["/data/storage", "ssh://host/data"])
def test_a_remote_that_no_job_reaches_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="storage"):
        remote_for_job(RemoteConfig("storage", url))


@pytest.mark.parametrize(
    ("framework", "version", "instance", "uri"),
    [
        ("sklearn", "1.4-2", "ml.m5.large", "sagemaker-scikit-learn:1.4-2-cpu-py3"),
        ("pytorch", "2.8", "ml.g5.xlarge", "pytorch-training:2.8-gpu-py312"),
        ("pytorch", "1.8.1", "ml.m5.large", "pytorch-training:1.8.1-cpu-py3"),
    ],
)
def test_a_framework_image_has_its_uri_from_the_sdk(
    framework: str, version: str, instance: str, uri: str
) -> None:
    pytest.importorskip("sagemaker.core")
    settings = dataclasses.replace(LEAST, instance=Instance(instance))
    found = framework_image(FrameworkImage(framework, version), settings)
    assert found.endswith(f".dkr.ecr.eu-west-1.amazonaws.com/{uri}")


def test_a_framework_image_that_aws_lacks_is_refused() -> None:
    pytest.importorskip("sagemaker.core")
    with pytest.raises(ConfigError, match=r"pytorch 9\.9"):
        framework_image(FrameworkImage("pytorch", "9.9"), LEAST)


def test_the_step_in_a_name_decides_the_kind_of_a_job() -> None:
    assert kind_of("my-process-model-train-0123456789ab-1") == "Training"
    assert kind_of("train-process-0123456789ab-12") == "Processing"
    assert kind_of("something") == "Training"


@pytest.mark.parametrize("network", [Network((), ("sg-0a1b",)), Network(("subnet-0a1b",), ())])
def test_in_another_network_a_model_is_served_another_way(network: Network, tmp_path: Path) -> None:
    there = dataclasses.replace(LEAST, network=network)
    one, other = (SageMakerEndpoints(said, Pace(tmp_path / "calls")) for said in (LEAST, there))
    assert one.settings() != other.settings()
