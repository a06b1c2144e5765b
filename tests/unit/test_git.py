"""The Git adapter against real repositories, remotes, hooks and hostile names."""

from __future__ import annotations

import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from clew.adapters.git import GitRepository
from clew.adapters.git_command import environment, without_secrets
from clew.errors import ClewError, ConfigError, OutsideError, Unverifiable
from clew.identity import CommitSha
from clew.ports import Advance
from tests.gitrepo import GitRepo, git, isolate

LOCK = "dvc.lock"


@pytest.fixture(autouse=True)
def _isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    isolate(tmp_path, monkeypatch)


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    repo = GitRepo(tmp_path / "repo")
    repo.commit({LOCK: "one\n", "src/train.py": "print()\n", "README": "words\n"})
    return repo


@pytest.fixture
def bare(repo: GitRepo, tmp_path: Path) -> Path:
    return repo.publish(tmp_path / "origin.git")


@pytest.fixture
def colleague(bare: Path, tmp_path: Path) -> GitRepo:
    git(tmp_path, "clone", "-q", f"file://{bare}", "colleague")
    return GitRepo(tmp_path / "colleague")


def bot_commit(repo: GitRepo, content: str = "two\n") -> CommitSha:
    return repo.repository.commit_file(repo.head, LOCK, content.encode(), "Process prepare\n")


def deny(bare: Path, refs: str, hook: str = "update") -> None:
    """Make the remote decline refs of this shell pattern."""
    file = bare / "hooks" / hook
    file.write_text(f'#!/bin/sh\ncase "$1" in {refs}) echo protected >&2; exit 1;; esac\n')
    file.chmod(0o755)


# --- finding the repository ------------------------------------------------------------------


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


# --- revisions and names ---------------------------------------------------------------------


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


# --- what is inherited -----------------------------------------------------------------------


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


# --- working tree ----------------------------------------------------------------------------


def test_head_branch(repo: GitRepo) -> None:
    assert repo.repository.head_branch() == "main"
    repo.git("checkout", "-q", "-b", "feature/x")
    assert repo.repository.head_branch() == "feature/x"
    repo.git("checkout", "-q", "--detach")
    assert repo.repository.head_branch() is None


def test_dirty_sees_every_kind_of_change(repo: GitRepo) -> None:
    repo.commit({"gone": "x", "moved": "y\n" * 20, ".gitignore": "ignored\n"})
    repo.git("mv", "moved", "renamed")
    repo.write({"gone": None, "README": "edited\n", "new/deep/file": "x", "ignored": "x"})
    expected = ["README", "gone", "moved", "new/deep/file", "renamed"]
    assert sorted(repo.repository.dirty(["."])) == expected
    assert repo.repository.dirty(["src", "absent", "*"]) == []
    assert repo.repository.dirty(["new"]) == ["new/deep/file"]


def test_snapshot_takes_only_these_paths_and_moves_nothing(repo: GitRepo) -> None:
    head = repo.head
    repo.commit({".gitignore": "ignored\n", "src/gone": "x"})
    repo.write({"src/train.py": "edited\n", "src/new": "n", "README": "edited\n"})
    repo.write({"src/gone": None, "src/ignored": "x"})
    repo.git("add", "README")
    before = (repo.head, repo.git("status", "--porcelain"), repo.git("for-each-ref"))
    commit = repo.repository.snapshot(["src", "absent"])
    assert (repo.head, repo.git("status", "--porcelain"), repo.git("for-each-ref")) == before
    names = {entry.path for entry in repo.repository.entries(commit)}
    assert names == {LOCK, "README", ".gitignore", "src/train.py", "src/new"}
    assert repo.repository.read(commit, ["README", "src/train.py"]) == {
        "README": b"words\n",
        "src/train.py": b"edited\n",
    }
    assert repo.git("rev-parse", f"{commit}~2") == head
    assert repo.repository.snapshot(["src"]) == commit


def test_snapshot_of_a_clean_tree_is_head(repo: GitRepo) -> None:
    assert repo.repository.snapshot(["src", "."]) == repo.head
    assert repo.repository.snapshot([]) == repo.head


def test_snapshot_of_a_file_that_became_a_folder(repo: GitRepo) -> None:
    repo.write({"README": None})
    repo.write({"README/now": "x"})
    commit = repo.repository.snapshot(["README"])
    assert repo.repository.read(commit, ["README/now"]) == {"README/now": b"x"}


def test_snapshot_leaves_a_repository_inside_out(repo: GitRepo) -> None:
    GitRepo(repo.path / "src/nested").commit({"a": "a"})
    repo.write({"src/train.py": "edited\n"})
    commit = repo.repository.snapshot(["src"])
    assert repo.repository.read(commit, ["src/train.py"])["src/train.py"] == b"edited\n"


def test_sha256_repositories(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "--object-format=sha256", "long")
    repo = GitRepo(tmp_path / "long")
    head = repo.commit({LOCK: "one\n"})
    assert len(head) == 64
    new = bot_commit(repo)
    repo.repository.create_tag("data/x/1", new, "m")
    assert repo.repository.tag_commit("data/x/1") == new
    assert [entry.commit for entry in repo.repository.history(new, [LOCK])] == [new, head]
    assert repo.repository.read(new, [LOCK, "absent"]) == {LOCK: b"two\n", "absent": None}


def test_archive_is_the_commit_and_always_the_same(repo: GitRepo, tmp_path: Path) -> None:
    repo.write({"README": "dirty\n"})
    repo.repository.archive(repo.head, tmp_path / "a.tar")
    repo.git("config", "core.autocrlf", "true")
    repo.git("config", "tar.umask", "0077")
    repo.repository.archive(repo.head, tmp_path / "b.tar")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    with tarfile.open(tmp_path / "a.tar") as archive:
        file = archive.extractfile("README")
        assert file is not None
        assert file.read() == b"words\n"
        assert "src/train.py" in archive.getnames()
    assert sorted(path.name for path in tmp_path.glob("*tar*")) == ["a.tar", "b.tar"]


# --- commits and tags ------------------------------------------------------------------------


def test_commit_file_is_deterministic_and_touches_nothing(repo: GitRepo, tmp_path: Path) -> None:
    repo.write({"README": "edited\n"})
    repo.git("config", "commit.gpgSign", "true")
    repo.git("config", "user.name", "Somebody")
    status = repo.git("status", "--porcelain")
    made = {bot_commit(repo), bot_commit(repo), bot_commit(repo.clone(tmp_path / "elsewhere"))}
    (commit,) = made
    assert repo.head == repo.git("rev-parse", f"{commit}~1")
    assert repo.git("status", "--porcelain") == status
    assert repo.git("diff", "--name-only", "HEAD", commit) == LOCK
    assert repo.git("show", "-s", "--format=%an %ae %cn %B", commit) == (
        "clew clew@localhost clew Process prepare"
    )
    dates = repo.git("show", "-s", "--format=%ct", commit, "HEAD").split()
    assert dates[0] == dates[1]


def test_commit_file_can_add_a_file_and_keeps_its_mode(repo: GitRepo) -> None:
    (repo.path / "src/train.py").chmod(0o755)
    repo.commit()
    commit = repo.repository.commit_file(repo.head, "a/b/c", b"new", "m")
    commit = repo.repository.commit_file(commit, "src/train.py", b"new", "m")
    entries = {entry.path: entry.mode for entry in repo.repository.entries(commit)}
    assert (entries["a/b/c"], entries["src/train.py"]) == ("100644", "100755")


def test_create_tag_is_deterministic_and_can_be_repeated(repo: GitRepo, tmp_path: Path) -> None:
    repo.git("config", "tag.gpgSign", "true")
    twin = repo.clone(tmp_path / "twin")
    for one in (repo, repo, twin):
        one.repository.create_tag("data/x/1", repo.head, "Data version")
    assert repo.git("rev-parse", "data/x/1") == twin.git("rev-parse", "data/x/1")
    assert repo.git("cat-file", "-t", "data/x/1") == "tag"
    assert repo.repository.tag_commit("data/x/1") == repo.head
    repo.git("fsck", "--strict")


def test_create_tag_elsewhere_is_refused(repo: GitRepo) -> None:
    first = repo.head
    repo.repository.create_tag("data/x/1", first, "m")
    second = repo.commit()
    with pytest.raises(ConfigError) as caught:
        repo.repository.create_tag("data/x/1", second, "m")
    assert first in str(caught.value)
    assert second in str(caught.value)
    assert repo.repository.tag_commit("data/x/1") == first


def test_create_tag_under_another_tag_is_refused(repo: GitRepo) -> None:
    repo.git("tag", "data")
    with pytest.raises(ConfigError, match="can't be created"):
        repo.repository.create_tag("data/x/1", repo.head, "m")


def test_hooks_are_never_run(repo: GitRepo, bare: Path, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    names = ("pre-commit", "commit-msg", "post-commit", "pre-push", "reference-transaction")
    for name in (*names, "post-merge", "post-checkout", "post-index-change"):
        hook = repo.path / ".git/hooks" / name
        hook.write_text(f"#!/bin/sh\ntouch {mark}\nexit 1\n")
        hook.chmod(0o755)
    repository, old = repo.repository, repo.head
    new = bot_commit(repo)
    repository.create_tag("data/x/1", new, "m")
    repository.push_tag("data/x/1")
    assert repository.advance("main", old, new, LOCK) is Advance.MOVED
    assert repository.fast_forward(old, new)
    assert not mark.exists()


def test_fast_forward(repo: GitRepo) -> None:
    old, new = repo.head, bot_commit(repo)
    repo.write({"README": "edited\n"})
    assert repo.repository.fast_forward(old, new)
    assert repo.head == new
    assert (repo.path / LOCK).read_text() == "two\n"
    assert repo.git("status", "--porcelain") == "M README"
    assert repo.repository.fast_forward(old, new), "a second time changes nothing"


def test_fast_forward_never_overwrites_local_changes(repo: GitRepo) -> None:
    old, new = repo.head, bot_commit(repo)
    repo.write({LOCK: "mine\n"})
    assert not repo.repository.fast_forward(old, new)
    assert repo.head == old
    assert (repo.path / LOCK).read_text() == "mine\n"


def test_fast_forward_only_from_old(repo: GitRepo) -> None:
    old, new = repo.head, bot_commit(repo)
    moved = repo.commit()
    assert not repo.repository.fast_forward(old, new)
    repo.git("checkout", "-q", "--detach", old)
    assert not repo.repository.fast_forward(old, new)
    assert repo.git("rev-parse", "main") == moved


# --- the remote ------------------------------------------------------------------------------


def test_remote_url(repo: GitRepo, tmp_path: Path) -> None:
    repository = repo.repository
    assert repository.remote_url() is None
    repo.git("remote", "add", "only", "https://user:s3cret@host/x.git")
    for url, shown in {
        "https://user:s3cret@host/x.git": "https://host/x.git",
        "git@host:team/x.git": "git@host:team/x.git",
        "ssh://git:s3cret@host/x.git": "ssh://git@host/x.git",
        "ssh://git@host/x.git": "ssh://git@host/x.git",
        "../elsewhere.git": str(tmp_path / "elsewhere.git"),
        "/srv/x.git": "/srv/x.git",
    }.items():
        repo.git("remote", "set-url", "only", url)
        assert repository.remote_url() == shown


def test_which_remote(repo: GitRepo) -> None:
    for name in ("one", "two"):
        repo.git("remote", "add", name, f"/srv/{name}")
    with pytest.raises(ConfigError, match="one, two"):
        repo.repository.remote_url()
    repo.git("config", "branch.main.remote", "two")
    assert repo.repository.remote_url() == "/srv/two"
    repo.git("remote", "add", "origin", "/srv/origin")
    assert repo.repository.remote_url() == "/srv/origin"


def test_without_a_remote(repo: GitRepo) -> None:
    repository, head = repo.repository, repo.head
    assert not repository.deepen()
    assert not repository.on_remote(head)
    assert repository.fetch_tag("data/x/1") is None
    assert repository.advance("main", head, bot_commit(repo), LOCK) is Advance.NO_REMOTE


def test_unreachable_remote_is_an_outside_error(repo: GitRepo, tmp_path: Path) -> None:
    shallow = repo.clone(tmp_path / "shallow", "--depth=1")
    shallow.git("remote", "set-url", "origin", str(tmp_path / "absent.git"))
    repository, head = shallow.repository, shallow.head
    repository.create_tag("t", head, "m")
    calls = (
        lambda: repository.on_remote(head),
        lambda: repository.fetch_tag("t"),
        lambda: repository.push_tag("t"),
        lambda: repository.advance("main", head, bot_commit(shallow), LOCK),
    )
    for call in calls:
        with pytest.raises(OutsideError, match=r"absent\.git"):
            call()


def test_on_remote(repo: GitRepo, bare: Path, colleague: GitRepo) -> None:
    pushed = repo.head
    assert repo.repository.on_remote(pushed)
    local = repo.commit()
    assert not repo.repository.on_remote(local)
    repo.git("tag", "-a", "local-only", "-m", "m")
    assert not repo.repository.on_remote(local)
    repo.git("push", "-q", "origin", "local-only")
    assert repo.repository.on_remote(local), "an annotated tag has it"
    colleague.commit({"theirs": "x"})
    colleague.git("push", "-q", "origin", "main")
    assert repo.repository.on_remote(pushed), "behind a branch that moved on"


def test_on_remote_asks_now(repo: GitRepo, bare: Path) -> None:
    repo.git("checkout", "-q", "-b", "short-lived")
    commit = repo.commit()
    repo.git("push", "-q", "origin", "short-lived")
    git(bare, "update-ref", "-d", "refs/heads/short-lived")
    assert not repo.repository.on_remote(commit)


def test_on_remote_leaves_local_tags_alone(repo: GitRepo, bare: Path, colleague: GitRepo) -> None:
    repo.git("tag", "same")
    theirs = colleague.commit({"theirs": "x"})
    colleague.git("tag", "same")
    colleague.git("push", "-q", "origin", "main", "same")
    assert repo.repository.on_remote(repo.head)
    assert repo.git("rev-parse", "same") == repo.head != theirs


def test_push_tag_pushes_only_the_tag_and_can_be_repeated(repo: GitRepo, bare: Path) -> None:
    repo.git("tag", "other")
    repo.git("config", "push.followTags", "true")
    commit = repo.commit()
    repo.repository.create_tag("data/x/1", commit, "m")
    repo.repository.push_tag("data/x/1")
    repo.repository.push_tag("data/x/1")
    refs = git(bare, "for-each-ref", "--format=%(refname)").split()
    assert refs == ["refs/heads/main", "refs/tags/data/x/1"]
    assert git(bare, "rev-parse", "data/x/1^{commit}") == commit


def test_push_tag_that_the_remote_has_on_the_same_commit(repo: GitRepo, bare: Path) -> None:
    git(bare, "tag", "data/x/1", repo.head)
    repo.repository.create_tag("data/x/1", repo.head, "m")
    repo.repository.push_tag("data/x/1")
    assert git(bare, "cat-file", "-t", "data/x/1") == "commit", "not replaced"


def test_push_tag_that_the_remote_has_elsewhere(repo: GitRepo, bare: Path) -> None:
    theirs = repo.head
    git(bare, "tag", "data/x/1", theirs)
    ours = repo.commit()
    repo.repository.create_tag("data/x/1", ours, "m")
    with pytest.raises(Unverifiable) as caught:
        repo.repository.push_tag("data/x/1")
    assert theirs in str(caught.value)
    assert ours in str(caught.value)
    with pytest.raises(Unverifiable):
        repo.repository.fetch_tag("data/x/1")


def test_push_tag_that_the_remote_declines(repo: GitRepo, bare: Path) -> None:
    deny(bare, "refs/tags/*")
    repo.repository.create_tag("data/x/1", repo.head, "m")
    with pytest.raises(OutsideError, match="does not take the tag"):
        repo.repository.push_tag("data/x/1")


def test_fetch_tag(repo: GitRepo, bare: Path, colleague: GitRepo) -> None:
    assert repo.repository.fetch_tag("data/x/1") is None
    theirs = colleague.commit({LOCK: "three\n"})
    colleague.repository.create_tag("data/x/1", theirs, "m")
    colleague.repository.push_tag("data/x/1")
    assert repo.repository.tag_commit("data/x/1") is None
    assert repo.repository.fetch_tag("data/x/1") == theirs
    assert repo.repository.fetch_tag("data/x/1") == theirs
    assert repo.repository.read(theirs, [LOCK])[LOCK] == b"three\n"
    assert not repo.repository.shallow_boundary()


def test_deepen(repo: GitRepo, tmp_path: Path) -> None:
    root = repo.head
    repo.commit()
    shallow = repo.clone(tmp_path / "shallow", "--depth=1")
    assert shallow.repository.shallow_boundary() == {repo.head}
    assert shallow.repository.deepen()
    assert shallow.repository.deepen(), "a whole clone stays as it is"
    assert not shallow.repository.shallow_boundary()
    assert shallow.git("rev-list", "HEAD").split()[-1] == root


def test_deepen_below_a_commit_that_no_remote_has(repo: GitRepo, tmp_path: Path) -> None:
    repo.commit()
    shallow = repo.clone(tmp_path / "shallow", "--depth=1")
    shallow.commit({"local": "x"})
    assert shallow.repository.deepen()
    assert not shallow.repository.shallow_boundary()


# --- the bot's commit on the branch ----------------------------------------------------------


def remote_head(bare: Path, branch: str = "main") -> str:
    return git(bare, "rev-parse", f"refs/heads/{branch}")


def test_advance_moves_and_can_be_repeated(repo: GitRepo, bare: Path) -> None:
    old, new = repo.head, bot_commit(repo)
    for _ in range(2):
        assert repo.repository.advance("main", old, new, LOCK) is Advance.MOVED
        assert remote_head(bare) == new


def test_advance_makes_a_branch_that_is_not_there(repo: GitRepo, bare: Path) -> None:
    new = bot_commit(repo)
    assert repo.repository.advance("fresh", repo.head, new, LOCK) is Advance.MOVED
    assert remote_head(bare, "fresh") == new


def test_advance_onto_a_branch_that_moved_on(repo: GitRepo, bare: Path, colleague: GitRepo) -> None:
    old, new = repo.head, bot_commit(repo)
    theirs = colleague.commit({"theirs": "x"})
    colleague.git("push", "-q", "origin", "main")
    assert repo.repository.advance("main", old, new, LOCK) is Advance.REBASED
    head = remote_head(bare)
    assert git(bare, "rev-parse", f"{head}~1") == theirs
    assert git(bare, "show", f"{head}:{LOCK}") == "two"
    assert git(bare, "show", f"{head}:theirs") == "x"
    assert git(bare, "show", "-s", "--format=%B", head) == "Process prepare"
    assert repo.repository.advance("main", old, new, LOCK) is Advance.MOVED, "after a kill"
    assert remote_head(bare) == head


def test_advance_offers_when_the_same_file_changed(
    repo: GitRepo, bare: Path, colleague: GitRepo
) -> None:
    old, new = repo.head, bot_commit(repo)
    theirs = colleague.commit({LOCK: "theirs\n"})
    colleague.git("push", "-q", "origin", "main")
    for _ in range(2):
        assert repo.repository.advance("main", old, new, LOCK) is Advance.OFFERED
        assert remote_head(bare) == theirs
        assert remote_head(bare, f"clew/main-{new[:12]}") == new


@pytest.mark.parametrize("hook", ["update", "pre-receive"])
def test_advance_offers_when_the_branch_is_protected(repo: GitRepo, bare: Path, hook: str) -> None:
    if hook == "update":
        deny(bare, "refs/heads/main")
    else:
        file = bare / "hooks/pre-receive"
        file.write_text('#!/bin/sh\nwhile read a b ref; do [ "$ref" != refs/heads/main ]; done\n')
        file.chmod(0o755)
    old, new = repo.head, bot_commit(repo)
    assert repo.repository.advance("main", old, new, LOCK) is Advance.OFFERED
    assert (remote_head(bare), remote_head(bare, f"clew/main-{new[:12]}")) == (old, new)


def test_advance_says_when_nothing_is_taken(repo: GitRepo, bare: Path) -> None:
    deny(bare, "*")
    with pytest.raises(OutsideError, match="neither on main"):
        repo.repository.advance("main", repo.head, bot_commit(repo), LOCK)


def test_advance_gives_up_on_a_branch_that_never_rests(repo: GitRepo, bare: Path) -> None:
    """Before each push somebody else's commit arrives."""
    busy = repo.path / ".git/busy"
    hook = bare / "hooks/pre-receive"
    hook.write_text(
        "#!/bin/sh\nwhile read old new ref; do\n"
        'case "$ref" in refs/heads/clew/*) exit 0;; esac\n'
        "unset GIT_QUARANTINE_PATH GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES\n"
        f"echo x >> {busy}\n"
        "new=$(git -c user.name=a -c user.email=a@b commit-tree main^{tree} -p main -m race)\n"
        "git update-ref refs/heads/main $new\ndone\n"
    )
    hook.chmod(0o755)
    assert repo.repository.advance("main", repo.head, bot_commit(repo), LOCK) is Advance.OFFERED
    assert len(busy.read_text().split()) == 5


def test_two_bots_end_with_one_commit(repo: GitRepo, bare: Path, colleague: GitRepo) -> None:
    old = repo.head
    first, second = bot_commit(repo), bot_commit(colleague)
    assert first == second
    assert colleague.repository.advance("main", old, second, LOCK) is Advance.MOVED
    assert repo.repository.advance("main", old, first, LOCK) is Advance.MOVED
    assert remote_head(bare) == first


def test_advance_from_a_shallow_clone(repo: GitRepo, bare: Path, tmp_path: Path) -> None:
    repo.commit({"README": "more"})
    repo.git("push", "-q", "origin", "main")
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{bare}", "shallow")
    shallow = GitRepo(tmp_path / "shallow")
    new = bot_commit(shallow)
    assert shallow.repository.advance("main", shallow.head, new, LOCK) is Advance.MOVED
    assert remote_head(bare) == new


def test_every_error_is_one_of_ours(repo: GitRepo) -> None:
    (repo.path / ".git/objects").rename(repo.path / ".git/gone")
    with pytest.raises(ClewError):
        repo.repository.entries(repo.head)


def test_no_process_is_left_behind(repo: GitRepo) -> None:
    for _ in range(5):
        next(repo.repository.history(repo.head, [LOCK]))
    done = subprocess.run(
        ["ps", "-o", "stat=,comm=", "--ppid", str(os.getpid())],
        capture_output=True,
        check=False,
        text=True,
    )
    assert "git" not in done.stdout
