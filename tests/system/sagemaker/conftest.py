"""One stand for all tests of this folder; each has a pipeline of its own name on it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.stand import Stand
    from tests.system.sagemaker.cloud import Cloud
    from tests.system.small import Small

_names = itertools.count(1)


@pytest.fixture(scope="session")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """S3, SageMaker and MLflow; SIGTERM is followed by SIGKILL after five seconds."""
    for module in ("moto", "regex", "sagemaker_training", "dvc_s3"):
        pytest.importorskip(module, reason="the extra `stand` is not installed")
    from tests.stand import Stand
    from tests.stand.identity import ROLES

    folder, roles = tmp_path_factory.mktemp("stand"), (*ROLES, "clew-serving")
    with Stand(folder, mlflow=True, grace_seconds=5, roles=roles) as started:
        started.push_image("mlflow-pyfunc", version("mlflow"))
        yield started


@pytest.fixture
def new_cloud(fresh: Small, stand: Stand, tmp_path: Path) -> Iterator[Callable[..., Cloud]]:
    """Make pipelines that never ran; no fault outlives the test."""
    from tests.system.sagemaker.cloud import SKLEARN, make_cloud

    def make(image: str = SKLEARN) -> Cloud:
        name = f"cloud{next(_names)}"
        return make_cloud(fresh, tmp_path / name, stand, name, image)

    yield make
    stand.client.no_faults()


@pytest.fixture
def cloud(new_cloud: Callable[..., Cloud]) -> Cloud:
    """A pipeline that never ran."""
    return new_cloud()
