"""One stand for all contract tests; each test uses names of its own and leaves no fault behind."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.stand import Stand
    from tests.unit.stand.account import Account

INSTALLED = all(importlib.util.find_spec(name) for name in ("boto3", "moto", "sagemaker_training"))
# Without the extra nothing here can even be imported; `make stand` installs it.
collect_ignore_glob = [] if INSTALLED else ["test_*.py"]
_names = itertools.count(1)


def pytest_report_header() -> str:
    return "" if INSTALLED else "tests/unit/stand: left out, `make stand` installs what they need"


@pytest.fixture(scope="session")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """S3 and the AWS endpoint; SIGTERM is followed by SIGKILL after two seconds."""
    from tests.stand import Stand

    with Stand(tmp_path_factory.mktemp("stand"), grace_seconds=2) as started:
        yield started


@pytest.fixture(scope="session")
def _account(stand: Stand) -> Account:
    from tests.unit.stand.account import Account

    return Account(stand)


@pytest.fixture
def account(_account: Account) -> Iterator[Account]:
    """The account, without faults of earlier tests."""
    yield _account
    _account.stand.client.no_faults()


@pytest.fixture
def name() -> str:
    """A name that no other test has."""
    return f"test-{next(_names)}"
