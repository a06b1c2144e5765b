"""One small pipeline is made for the session; each test works on a copy of it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.people import People, make_people
from tests.system.small import Small, make_small

OPEN = """\
import sys
from pathlib import Path
from clew.adapters.mlflow import MlflowTracker
folder = Path(sys.argv[1])
folder.mkdir(exist_ok=True)
database = f"sqlite:///{folder}/mlflow.db"
MlflowTracker(database, "small", "small-model", folder / "artifacts").runs({})
"""


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """A pipeline that never ran; its MLflow database is there already, which takes seconds."""
    small = make_small(tmp_path_factory.mktemp("fresh"))
    subprocess.run([sys.executable, "-c", OPEN, str(small.work / ".clew")], check=True)
    return small


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, fresh: Small) -> Small:
    """The same pipeline after its first run."""
    folder = tmp_path_factory.mktemp("finished") / "copy"
    shutil.copytree(fresh.folder, folder, symlinks=True)
    done = Small(folder)
    ran = done.clew("run")
    assert ran.returncode == 0, ran.stderr
    return done


@pytest.fixture
def small(fresh: Small, tmp_path: Path) -> Small:
    shutil.copytree(fresh.folder, tmp_path / "copy", symlinks=True)
    return Small(tmp_path / "copy")


@pytest.fixture
def ran(finished: Small, tmp_path: Path) -> Small:
    shutil.copytree(finished.folder, tmp_path / "copy", symlinks=True)
    return Small(tmp_path / "copy")


@pytest.fixture
def people(small: Small) -> People:
    """A pipeline about people that never ran."""
    return make_people(small)
