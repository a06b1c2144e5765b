"""Two hosts, spot capacity, and what is on an instance."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.stand.account import INSTANCE, PYTORCH, Account, states

MEET = """
import os, pathlib, socket, sys, time
rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
where = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
if rank == 0:
    server = socket.create_server(where)
    print(f"from the other host: {server.accept()[0].recv(100).decode()}")
else:
    while True:
        try:
            connection = socket.create_connection(where)
            break
        except OSError:
            time.sleep(0.05)
    connection.send(f"rank {rank} of {size} at {os.environ['SM_CURRENT_HOST']}".encode())
pathlib.Path(os.environ["SM_MODEL_DIR"], f"rank-{rank}").write_text("x")
if "--fail" in sys.argv and rank == 1:
    raise ValueError("one host fails")
if "--fail" in sys.argv:
    time.sleep(60)
"""
EPOCHS = """
import os, pathlib, time
folder = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"], "checkpoints")
folder.mkdir(exist_ok=True)
state = folder / "epoch"
epoch = int(state.read_text()) if state.exists() else 0
print("starting at", epoch, flush=True)
if epoch == 0:
    state.write_text("7")
    time.sleep(60)
"""


def two_hosts(account: Account, name: str) -> dict[str, Any]:
    algorithm = account.training_request(name)["AlgorithmSpecification"]
    return {
        "ResourceConfig": INSTANCE | {"InstanceCount": 2},
        "AlgorithmSpecification": algorithm | {"TrainingImage": PYTORCH},
    }


def test_two_hosts_talk(account: Account, name: str) -> None:
    switch = {"sagemaker_torch_distributed_enabled": True}
    account.train(name, MEET, switch, **two_hosts(account, name))
    job = account.wait(name)
    assert job["TrainingJobStatus"] == "Completed", account.log(name)
    assert "from the other host: rank 1 of 2 at algo-2" in account.log(name)
    files = account.read_archive(job["ModelArtifacts"]["S3ModelArtifacts"])
    assert set(files) == {"rank-0", "rank-1"}


def test_one_failing_host_ends_the_other(account: Account, name: str) -> None:
    switch = {"sagemaker_torch_distributed_enabled": True, "fail": True}
    account.train(name, MEET, switch, **two_hosts(account, name))
    job = account.wait(name)
    assert job["TrainingJobStatus"] == "Failed"
    assert "one host fails" in job["FailureReason"]
    assert job["TrainingTimeInSeconds"] < 20


def test_data_can_be_shared_out(account: Account, name: str) -> None:
    for number in range(4):
        account.put(f"{name}/data/{number}", "x")
    source = {
        "S3DataType": "S3Prefix",
        "S3Uri": f"s3://{account.bucket}/{name}/data/",
        "S3DataDistributionType": "ShardedByS3Key",
    }
    account.train(
        name,
        "import os\nfiles = sorted(os.listdir(os.environ['SM_CHANNEL_TRAIN']))\n"
        "print(f\"shard {os.environ['SM_CURRENT_HOST']} {files}\")",
        InputDataConfig=[{"ChannelName": "train", "DataSource": {"S3DataSource": source}}],
        **two_hosts(account, name),
    )
    account.wait(name)
    log = account.log(name)
    assert "shard algo-1 ['0', '2']" in log
    assert "shard algo-2 ['1', '3']" in log


def test_spot_capacity_is_lost_and_checkpoints_come_back(account: Account, name: str) -> None:
    account.train(
        name,
        EPOCHS,
        EnableManagedSpotTraining=True,
        StoppingCondition={"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60},
        CheckpointConfig={"S3Uri": f"s3://{account.bucket}/{name}/checkpoints"},
    )
    account.wait_for_log(name, "starting at 0")
    account.stand.client.interrupt(name)
    job = account.wait(name)
    assert job["TrainingJobStatus"] == "Completed", account.log(name)
    assert states(job) == [
        *("Starting", "Downloading", "Training", "Interrupted"),
        *("Starting", "Downloading", "Training", "Uploading", "Completed"),
    ]
    assert "starting at 7" in account.log(name)
    assert job["BillableTimeInSeconds"] < job["TrainingTimeInSeconds"]


def test_only_spot_jobs_are_interrupted(account: Account, name: str) -> None:
    account.train(name, "")
    with pytest.raises(ValueError, match="no running job with managed spot training"):
        account.stand.client.interrupt(name)


def test_waiting_too_long_for_spot_capacity(account: Account, name: str) -> None:
    account.stand.client.slow_start(3, job=name)
    account.train(
        name,
        "",
        EnableManagedSpotTraining=True,
        StoppingCondition={"MaxRuntimeInSeconds": 1, "MaxWaitTimeInSeconds": 1},
    )
    job = account.wait(name)
    assert job["SecondaryStatus"] == "MaxWaitTimeExceeded"
    assert states(job) == ["Starting", "Stopping", "MaxWaitTimeExceeded"]


def test_installing_a_package_changes_only_the_job(account: Account, name: str) -> None:
    """The toolkit runs `pip install` on the source's requirements.txt; here by hand, offline."""
    script = (
        "import pathlib, site, sys\n"
        "folder = pathlib.Path(site.getsitepackages()[0])\n"
        "(folder / 'only_here.py').write_text('')\n"
        "import only_here\nprint('prefix', sys.prefix)"
    )
    account.train(name, script)
    assert account.wait(name)["TrainingJobStatus"] == "Completed"
    assert f"prefix {account.stand.folder}" in account.log(name)
