"""The log in Git: its order, races, what happens to one that somebody rewrote."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from clew.adapters.git_log import GitLog
from clew.errors import OutsideError, Unverifiable
from clew.log import DATA, MODEL, Draft
from tests.gitrepo import GitRepo, git
from tests.unit.git.conftest import deny

REF = "refs/clew/log/shoes"


def log(repo: GitRepo) -> GitLog:
    return GitLog(repo.path, "shoes")


def data(*words: str) -> list[Draft]:
    return [Draft(DATA, {"data_version": f"data/shoes/{word}"}) for word in words]


def words(found: GitLog) -> list[str]:
    return [entry.facts.get("data_version", "").rpartition("/")[2] for entry in found.logged()]


def test_an_empty_log(repo: GitRepo) -> None:
    found = log(repo)
    found.fetch()
    assert (found.logged(), found.head()) == ([], None)


def test_entries_come_back_in_their_order_and_only_once(repo: GitRepo) -> None:
    found = log(repo)
    found.append(data("a", "b"), publish=False)
    found.append([*data("b", "c"), Draft(MODEL, {"model": "m/1", "run_id": "r"})], publish=False)
    assert [entry.number for entry in found.logged()] == [1, 2, 3, 4]
    assert words(found)[:3] == ["a", "b", "c"]
    assert found.logged()[-1].facts == {"model": "m/1", "run_id": "r"}
    assert found.head() == found.logged()[-1].id


def test_facts_of_any_text_come_back_as_they_were(repo: GitRepo) -> None:
    facts = {"data_version": "x", "odd": 'é \n\n"\x01 \u2028 {}', "subject line": "\n\nkind"}
    log(repo).append([Draft(DATA, facts)], publish=False)
    assert log(repo).logged()[0].facts == facts


def test_the_remote_gets_it_and_a_colleague_reads_it(repo: GitRepo, colleague: GitRepo) -> None:
    log(repo).append(data("a"), publish=True)
    theirs = log(colleague)
    theirs.fetch()
    assert words(theirs) == ["a"]
    theirs.append(data("b"), publish=True)
    log(repo).append(data("c"), publish=True)
    assert words(log(repo)) == ["a", "b", "c"]


def test_what_only_this_clone_has_comes_after_what_the_remote_has(
    repo: GitRepo, colleague: GitRepo
) -> None:
    mine = log(repo)
    mine.append(data("own"), publish=False)
    log(colleague).append(data("first", "second"), publish=True)
    mine.fetch()
    assert words(mine) == ["first", "second", "own"]
    mine.append([], publish=True)
    log(colleague).fetch()
    assert words(log(colleague)) == ["first", "second", "own"]


def test_two_that_write_at_once_both_end_up_in_it(repo: GitRepo, colleague: GitRepo) -> None:
    with ThreadPoolExecutor(4) as pool:
        jobs = [
            pool.submit(log(clone).append, data(f"{name}{n}"), publish=True)
            for n in range(2)
            for name, clone in (("r", repo), ("c", colleague))
        ]
        for job in jobs:
            job.result()
    log(repo).fetch()
    assert sorted(words(log(repo))) == ["c0", "c1", "r0", "r1"]


@pytest.mark.parametrize("way", ["shortened", "gone", "other"])
def test_a_log_that_was_rewritten_in_the_remote_is_evidence_no_more(
    repo: GitRepo, bare: Path, colleague: GitRepo, way: str
) -> None:
    found = log(repo)
    found.append(data("a", "b"), publish=True)
    if way == "gone":
        git(bare, "update-ref", "-d", REF)
    elif way == "shortened":
        git(bare, "update-ref", REF, found.logged()[0].id)
    else:
        log(colleague).append(data("x"), publish=False)
        colleague.git("push", "-q", "--force", "origin", REF)
    with pytest.raises(Unverifiable, match="was rewritten"):
        found.fetch()
    with pytest.raises(Unverifiable, match="was rewritten"):
        found.append(data("c"), publish=True)
    assert words(found) == ["a", "b"]


def test_an_entry_that_is_none_is_refused(repo: GitRepo) -> None:
    log(repo).append(data("a"), publish=False)
    for message in ("no JSON", 'x\n\n{"kind": "strange"}', 'x\n\n{"kind": "data", "n": 1}'):
        tree = repo.git("rev-parse", "HEAD^{tree}")
        made = repo.git("commit-tree", "-p", REF, "-m", message, tree)
        repo.git("update-ref", REF, made)
        with pytest.raises(Unverifiable, match="entry 2"):
            log(repo).logged()
        repo.git("update-ref", REF, f"{made}^")


def test_a_merge_in_the_log_is_refused(repo: GitRepo) -> None:
    log(repo).append(data("a", "b"), publish=False)
    tree = repo.git("rev-parse", "HEAD^{tree}")
    message = 'x\n\n{"kind": "data"}'
    made = repo.git("commit-tree", "-p", REF, "-p", "HEAD", "-m", message, tree)
    repo.git("update-ref", REF, made)
    with pytest.raises(Unverifiable, match="the entry before it"):
        log(repo).logged()


def test_a_remote_that_takes_no_such_ref_is_named(repo: GitRepo, bare: Path) -> None:
    deny(bare, "refs/clew/*")
    with pytest.raises(OutsideError, match=r"does not take the log.*declined"):
        log(repo).append(data("a"), publish=True)
    log(repo).append(data("a"), publish=False)
    assert words(log(repo)) == ["a"]


def test_a_remote_out_of_reach_is_no_reason_to_lose_an_entry(repo: GitRepo, bare: Path) -> None:
    bare.rename(bare.with_name("away"))
    log(repo).append(data("a"), publish=False)
    with pytest.raises(OutsideError):
        log(repo).append(data("b"), publish=True)
    with pytest.raises(OutsideError):
        log(repo).fetch()
    bare.with_name("away").rename(bare)
    log(repo).append(data("b"), publish=True)
    assert words(log(repo)) == ["a", "b"]


def test_a_shallow_clone_has_the_whole_log(repo: GitRepo, bare: Path, tmp_path: Path) -> None:
    log(repo).append(data("a", "b"), publish=True)
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{bare}", "shallow")
    shallow = log(GitRepo(tmp_path / "shallow"))
    shallow.fetch()
    assert words(shallow) == ["a", "b"]
    shallow.append(data("c"), publish=True)
    assert words(shallow) == ["a", "b", "c"]


def test_a_shallow_log_is_fetched_whole_and_the_code_is_not(
    repo: GitRepo, bare: Path, tmp_path: Path
) -> None:
    repo.commit({"README": "more words\n"})
    repo.git("push", "-q", "origin", "main")
    log(repo).append(data("a", "b", "c"), publish=True)
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{bare}", "shallow")
    shallow = GitRepo(tmp_path / "shallow")
    shallow.git("fetch", "-q", "--depth=2", "origin", "+refs/clew/*:refs/clew/*")
    with pytest.raises(Unverifiable, match="shallow"):
        log(shallow).logged()
    found = log(shallow)
    found.fetch()
    assert words(found) == ["a", "b", "c"]
    assert shallow.git("rev-list", "--count", "HEAD") == "1"


def test_a_graft_takes_no_entry_away(repo: GitRepo) -> None:
    log(repo).append(data("a", "b", "c"), publish=False)
    ids = [entry.id for entry in log(repo).logged()]
    (repo.path / ".git/info/grafts").write_text(f"{ids[2]} {ids[0]}\n")
    assert words(log(repo)) == ["a", "b", "c"]


@pytest.mark.parametrize("has_remote", [True, False])
def test_a_log_that_was_rewritten_here_is_what_the_remote_had(
    repo: GitRepo, bare: Path, has_remote: bool
) -> None:
    log(repo).append(data("a", "b"), publish=True)
    repo.git("update-ref", REF, log(repo).logged()[0].id)
    with pytest.raises(Unverifiable, match="which the remote's had"):
        log(repo).logged()
    if not has_remote:
        repo.git("remote", "remove", "origin")
    found = log(repo)
    found.fetch()
    assert words(found) == ["a", "b"]


def version(repo: GitRepo, digit: str) -> list[Draft]:
    name = f"data/shoes/{digit * 12}"
    repo.git("tag", name)
    return [Draft(DATA, {"data_version": name})]


def test_a_data_version_without_an_entry_is_named(repo: GitRepo, colleague: GitRepo) -> None:
    theirs = log(colleague)
    theirs.append(version(repo, "a"), publish=True)
    version(repo, "b")
    repo.git("tag", "data/shoes/by-hand")
    repo.git("push", "-q", "origin", "--tags")
    theirs.fetch()
    assert theirs.unlogged() == [f"data/shoes/{'b' * 12}"]
    assert log(repo).unlogged() == [f"data/shoes/{'a' * 12}", f"data/shoes/{'b' * 12}"]


def test_no_log_begins_where_there_was_one(repo: GitRepo, bare: Path, colleague: GitRepo) -> None:
    first = version(repo, "a")
    repo.git("push", "-q", "origin", "--tags")
    log(repo).append(first, publish=True)
    git(bare, "update-ref", "-d", REF)
    with pytest.raises(Unverifiable, match=f"no log.*{'a' * 12}"):
        log(colleague).append(version(repo, "b"), publish=True)
    assert git(bare, "for-each-ref", REF) == ""
    log(colleague).append(first, publish=True)  # its own tag comes before its entry
    assert log(colleague).unlogged() == []
