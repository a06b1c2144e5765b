"""Where clew comes from: as PEP 610 says, as a checkout proves, or as somebody names it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from clew.adapters.adoption import checkout_source
from clew.errors import ConfigError
from clew.init.source import Source, of_installation, parse, web_url
from tests.gitrepo import git, isolate

SHA = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        (f"owner/tool@{SHA}", "https://github.com/owner/tool"),
        (f"https://github.com/owner/tool.git@{SHA}", "https://github.com/owner/tool"),
        (f"https://git.example.org/group/sub/tool@{SHA}", "https://git.example.org/group/sub/tool"),
    ],
)
def test_a_source_that_is_named(text: str, url: str) -> None:
    assert parse(text) == Source(url, SHA)


@pytest.mark.parametrize(
    "text",
    [
        "owner/tool@main",
        f"owner/tool@{SHA[:12]}",
        f"owner@{SHA}",
        f"https://user:secret@github.com/owner/tool@{SHA}",
        f"owner/tool$(id)@{SHA}",
        f"owner/tool\n@{SHA}",
        "",
    ],
)
def test_what_is_no_source_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="no source"):
        parse(text)


@pytest.mark.parametrize(
    ("remote", "url"),
    [
        ("git@github.com:owner/tool.git", "https://github.com/owner/tool"),
        ("ssh://git@github.com/owner/tool", "https://github.com/owner/tool"),
        ("git+https://github.com/owner/tool.git", "https://github.com/owner/tool"),
        ("/srv/git/tool.git", None),
        ("https://token@github.com/owner/tool", None),
    ],
)
def test_a_remotes_address_by_https(remote: str, url: str | None) -> None:
    assert web_url(remote) == url


def test_pep_610_names_the_commit() -> None:
    said = {
        "url": "https://github.com/owner/tool.git",
        "vcs_info": {"vcs": "git", "commit_id": SHA},
    }
    assert of_installation(json.dumps(said)) == Source("https://github.com/owner/tool", SHA)


@pytest.mark.parametrize(
    "said",
    [
        None,
        "broken",
        "[]",
        '{"url": "file:///clew-0.1.0-py3-none-any.whl", "archive_info": {}}',
        '{"url": "https://github.com/o/r", "vcs_info": {"vcs": "git", "commit_id": "main"}}',
    ],
)
def test_where_nothing_is_said_nothing_is_guessed(said: str | None) -> None:
    assert of_installation(said) is None


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    isolate(tmp_path, monkeypatch)
    folder = tmp_path / "checkout"
    (folder / "scripts/clew").mkdir(parents=True)
    (folder / "scripts/clew/__init__.py").write_text("one\n")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "One")
    git(folder, "remote", "add", "origin", "git@github.com:owner/tool.git")
    git(folder, "update-ref", "refs/remotes/origin/main", "HEAD")
    return folder


def test_a_pushed_checkout_with_the_very_same_files(checkout: Path, tmp_path: Path) -> None:
    shutil.copytree(checkout / "scripts/clew", tmp_path / "site/clew")
    found = checkout_source(checkout, tmp_path / "site/clew")
    assert found == Source("https://github.com/owner/tool", git(checkout, "rev-parse", "HEAD"))


def test_a_checkout_that_proves_nothing(checkout: Path) -> None:
    package = checkout / "scripts/clew"
    (package / "__init__.py").write_text("two\n")
    assert "is not what" in str(checkout_source(checkout, package))
    git(checkout, "commit", "-qam", "Two")
    assert "was not pushed" in str(checkout_source(checkout, package))
    git(checkout, "remote", "set-url", "origin", "/srv/tool.git")
    assert "no remote that others reach" in str(checkout_source(checkout, package))
    assert "is no Git" in str(checkout_source(checkout.parent, package)) or "no Git" in str(
        checkout_source(checkout.parent, package)
    )
