"""One small pipeline is made for the session; each test works on a copy of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.people import SUBJECTS, People, make_people, revoke
from tests.system.small import Small, copied, make_small

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
    small.python(OPEN, str(small.work / ".clew"))
    return small


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, fresh: Small) -> Small:
    """The same pipeline after its first run."""
    done = copied(fresh, tmp_path_factory.mktemp("finished"))
    ran = done.clew("run")
    assert ran.returncode == 0, ran.stderr
    return done


@pytest.fixture(scope="session")
def consented(tmp_path_factory: pytest.TempPathFactory, fresh: Small) -> People:
    """People of whom a model was trained, as a person who works there sees them."""
    people = make_people(copied(fresh, tmp_path_factory.mktemp("consented")))
    people.git("config", "user.name", "T")
    people.git("config", "user.email", "t@example.org")
    ran = people.clew("run")
    assert ran.returncode == 0, ran.stderr
    return people


@pytest.fixture(scope="session")
def gone(tmp_path_factory: pytest.TempPathFactory, consented: People) -> People:
    """Somebody is in the first model, revoked, and is not in the second."""
    people = copied(consented, tmp_path_factory.mktemp("gone"))
    revoke(people, SUBJECTS[1])
    (people.folder / "moment").write_text(people.git("rev-parse", "HEAD"))
    ran = people.clew("run")
    assert ran.returncode == 0, ran.stderr
    return people


@pytest.fixture
def small(fresh: Small, tmp_path: Path) -> Small:
    return copied(fresh, tmp_path)


@pytest.fixture
def ran(finished: Small, tmp_path: Path) -> Small:
    return copied(finished, tmp_path)


@pytest.fixture
def people(small: Small) -> People:
    """A pipeline about people that never ran."""
    return make_people(small)


@pytest.fixture
def known(consented: People, tmp_path: Path) -> People:
    return copied(consented, tmp_path)
