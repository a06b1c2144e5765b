"""The Git adapter against real remotes: hooks, races, protected branches, shallow clones."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from clew.errors import ClewError, ConfigError, OutsideError, Unverifiable
from clew.repository import Advance
from tests.gitrepo import GitRepo, git
from tests.unit.git.conftest import LOCK, bot_commit, deny

# --- the remote ----------------------------------------------------------------------------------


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


# --- the bot's commit on the branch --------------------------------------------------------------


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


def test_the_remote_says_which_branch_is_its_default(
    repo: GitRepo, bare: Path, colleague: GitRepo
) -> None:
    first = repo.head
    repo.git("push", "-q", "origin", "HEAD:refs/heads/side", "HEAD:refs/heads/a/HEAD")
    later = repo.commit({"README": "more words\n"})
    repo.git("push", "-q", "origin", "HEAD:main")
    repository = colleague.repository
    found = repository.remote_branches()
    assert found == ("main", {"main": later, "side": first, "a/HEAD": first})
    assert repository.object_ids([(later, "")]) == [None], "asking fetches nothing"
    assert not repository.is_behind(first, [])
    repository.bring_branches({"main": later})
    assert repository.is_behind(first, [later])
    git(bare, "symbolic-ref", "HEAD", "refs/heads/gone")
    assert repository.remote_branches().default is None
    git(bare, "update-ref", "--no-deref", "HEAD", later)
    assert repository.remote_branches().default is None
