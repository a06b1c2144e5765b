"""The Git adapter reading real repositories with hostile names and settings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from clew.adapters.git import GitRepository
from clew.adapters.git_command import environment
from clew.errors import ConfigError, OutsideError
from clew.identity import CommitSha
from clew.redaction import without_secrets
from clew.repository import FileChange
from tests.gitrepo import GitRepo
from tests.unit.git.conftest import LOCK

# --- finding the repository ----------------------------------------------------------------------


def test_discover_from_a_folder_inside(repo: GitRepo) -> None:
    assert GitRepository.discover(repo.path / "src").root == repo.path


def test_no_repository(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no Git repository"):
        GitRepository.discover(tmp_path)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no folder"):
        GitRepository.discover(tmp_path / "absent")


def test_no_git(repo: GitRepo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ConfigError, match="can't be started"):
        GitRepository.discover(repo.path)


def test_bare_repository_is_refused(bare: Path) -> None:
    with pytest.raises(ConfigError, match="bare"):
        GitRepository.discover(bare)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_repository_of_another_user(repo: GitRepo) -> None:
    for path in (repo.path, repo.path / ".git"):
        os.chown(path, 12345, 12345)
    with pytest.raises(ConfigError, match="another user") as caught:
        GitRepository.discover(repo.path)
    assert f"safe.directory {repo.path}" in caught.value.fix


def test_no_commit_yet(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no commit yet"):
        GitRepo(tmp_path / "empty").repository.commit("HEAD")


# --- revisions and names -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "revision",
    [
        "",
        "absent",
        "--all",
        "-h",
        "^HEAD",
        "HEAD..HEAD",
        "HEAD:README",
        "0" * 40,
        "a\nb",
        "HEAD^{tree}",
    ],
)
def test_unknown_and_hostile_revisions(repo: GitRepo, revision: str) -> None:
    with pytest.raises(ConfigError, match=r"no commit|null byte"):
        repo.repository.commit(revision)


def test_revisions(repo: GitRepo) -> None:
    first = repo.head
    repo.git("tag", "-a", "v1", "-m", "x")
    second = repo.commit()
    assert repo.repository.commit("HEAD") == second
    assert {repo.repository.commit(name) for name in ("HEAD~1", "v1", first[:10])} == {first}


ODD_NAMES = [
    "with space",
    "new\nline",
    "ünï",
    "quo\"te'",
    "tab\t",
    "-dash",
    ":colon",
    "*",
    "a missing",
]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_path_names(repo: GitRepo, name: str) -> None:
    repo.write({name: "odd", f"{name}.d/in": "inside"})
    assert sorted(repo.repository.dirty([name])) == [name]
    head = repo.commit()
    repository = repo.repository
    assert repository.read(head, [name, "absent\nname"]) == {name: b"odd", "absent\nname": None}
    blob, tree = repository.object_ids([(head, name), (head, f"{name}.d")])
    assert blob is not None
    assert repository.blobs([blob]) == {blob: b"odd"}
    assert repo.git("cat-file", "-t", tree or "") == "tree"
    assert name in {entry.path for entry in repository.entries(head)}
    changed = repository.commit_file(head, name, b"new", "m")
    assert repository.read(changed, [name])[name] == b"new"
    repo.write({name: "dirty"})
    assert repository.read(repository.snapshot([name]), [name])[name] == b"dirty"


def test_read_tells_blobs_from_the_rest(repo: GitRepo) -> None:
    found = repo.repository.read(repo.head, ["README", "src", "absent", "src/absent"])
    assert found == {"README": b"words\n", "src": None, "absent": None, "src/absent": None}


def test_nothing_asked_nothing_answered(repo: GitRepo) -> None:
    repository = repo.repository
    assert repository.read(repo.head, []) == {}
    assert repository.blobs([]) == {}
    assert repository.object_ids([]) == []
    assert repository.dirty([]) == []


def test_the_tree_of_a_commit(repo: GitRepo) -> None:
    tree = repo.git("rev-parse", "HEAD^{tree}")
    assert repo.repository.object_ids([(repo.head, ""), (repo.head, ".")]) == [tree, tree]


def test_entries_show_submodules(repo: GitRepo, tmp_path: Path) -> None:
    other = GitRepo(tmp_path / "other")
    other.commit({"a": "a"})
    repo.git("submodule", "add", "-q", f"file://{other.path}", "sub")
    repo.commit()
    (entry,) = [e for e in repo.repository.entries(repo.head) if e.kind == "commit"]
    assert (entry.mode, entry.path, entry.id) == ("160000", "sub", other.head)


def test_history_tells_what_the_first_parent_had(repo: GitRepo) -> None:
    first = repo.head
    second = repo.commit({LOCK: "two\n"})
    third = repo.commit({"README": "other\n", "new": "n"})
    blob = repo.git("rev-parse", f"{first}:{LOCK}")
    entries = {entry.commit: entry for entry in repo.repository.history(third, [LOCK, "new"])}
    assert list(entries) == [third, second, first]
    assert entries[third].before == {"new": None}
    assert entries[second].before == {LOCK: blob}
    assert entries[second].parents == (first,)
    assert entries[first].parents == ()


def test_history_can_be_left_early(repo: GitRepo) -> None:
    history = repo.repository.history(repo.head, [LOCK])
    next(history)
    history.close()  # type: ignore[attr-defined]


def test_history_of_nothing_is_an_error(repo: GitRepo) -> None:
    with pytest.raises(OutsideError, match="git log"):
        list(repo.repository.history(CommitSha("0" * 40), [LOCK]))


def test_user_settings_do_not_change_the_answers(repo: GitRepo) -> None:
    before = list(repo.repository.history(repo.commit({LOCK: "two\n"}), [LOCK]))
    settings = {
        "log.follow": "true",
        "log.showSignature": "true",
        "log.diffMerges": "off",
        "log.showRoot": "false",
        "diff.renames": "copies",
        "diff.noprefix": "true",
        "core.quotePath": "true",
        "color.ui": "always",
        "status.showUntrackedFiles": "no",
        "status.branch": "true",
        "core.pager": "false",
        "format.pretty": "oneline",
    }
    for key, value in settings.items():
        repo.git("config", key, value)
    assert list(repo.repository.history(repo.head, [LOCK])) == before
    repo.write({"ünï": "x"})
    assert repo.repository.dirty(["."]) == ["ünï"]


# --- what is inherited ---------------------------------------------------------------------------


def test_inherited_variables_of_a_hook_are_dropped(
    repo: GitRepo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = GitRepo(tmp_path / "other")
    other.commit({"other": "x"})
    for name, value in {
        "GIT_DIR": str(other.path / ".git"),
        "GIT_WORK_TREE": str(other.path),
        "GIT_INDEX_FILE": str(tmp_path / "index"),
        "GIT_OBJECT_DIRECTORY": str(other.path / ".git/objects"),
        "GIT_TRACE": "1",
        "GIT_EXTERNAL_DIFF": "false",
        "GIT_NAMESPACE": "x",
    }.items():
        monkeypatch.setenv(name, value)
    head = repo.repository.commit("HEAD")
    assert repo.repository.read(head, ["README"])["README"] == b"words\n"


def test_what_reaches_a_remote_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = ("GIT_SSH_COMMAND", "GIT_ASKPASS", "GIT_CONFIG_COUNT", "GIT_SSL_CAINFO", "SSH_AUTH_SOCK")
    for name in (*kept, "GIT_DIR", "GIT_PREFIX", "GIT_CONFIG"):
        monkeypatch.setenv(name, "x")
    ours = environment()
    assert all(ours[name] == "x" for name in kept)
    assert not {"GIT_DIR", "GIT_PREFIX", "GIT_CONFIG"} & ours.keys()
    assert ours["GIT_TERMINAL_PROMPT"] == "0"


def test_replaced_commits_are_not_followed(repo: GitRepo) -> None:
    first = repo.head
    second = repo.commit({LOCK: "two\n"})
    repo.git("replace", second, first)
    assert repo.repository.read(second, [LOCK])[LOCK] == b"two\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at https://user:s3cret@host/x.git now", "at https://host/x.git now"),
        ("https://s3cret@host/x", "https://host/x"),
        ("https://user:s3@cret@host/x", "https://host/x"),
        ("https://host/x?private_token=s3cret", "https://host/x"),
        ("git@host:x.git", "git@host:x.git"),
    ],
)
def test_secrets_are_left_out(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


def test_errors_show_no_secrets(repo: GitRepo) -> None:
    repo.git("remote", "add", "origin", "http://user:s3cret@127.0.0.1:9/x.git?token=s3cret")
    with pytest.raises(OutsideError) as caught:
        repo.repository.on_remote(repo.head)
    assert "127.0.0.1" in str(caught.value)
    assert "s3cret" not in str(caught.value)


# --- what differs --------------------------------------------------------------------------------


def test_changes_tell_files_and_lines_under_these_paths_alone(repo: GitRepo) -> None:
    base = repo.commit({"src/gone": "1\n2\n", "src/*": "x\n", "other": "x", "src/bin": b"\0a"})
    head = repo.commit(
        {"src/gone": None, "src/*": "x\ny\n", "other": "z", "src/n\new": "1\n", "src/bin": b"\0b"}
    )
    found = repo.repository.changes(base, head, ["src"])
    assert sorted(found) == [
        FileChange("src/*", "changed", 1, 0),
        FileChange("src/bin", "changed", None, None),
        FileChange("src/gone", "removed", 0, 2),
        FileChange("src/n\new", "added", 1, 0),
    ]
    assert repo.repository.changes(base, head, ["src/*"]) == [found[0]]
    assert repo.repository.changes(head, head, ["src"]) == []
