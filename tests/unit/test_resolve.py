"""Resolution: the data commit of any history, and what stands in its way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clew.errors import ClewError, Unverifiable
from clew.identity import CommitSha, data_fingerprint, data_version
from clew.resolve import Resolution, data_commit_of, pointers_at, resolve
from tests.gitrepo import OUTPUT, GitRepo, data, dvc_file, git, isolate, lock, pipeline


@pytest.fixture(autouse=True)
def _isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    isolate(tmp_path, monkeypatch)


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    return GitRepo(tmp_path / "repo")


def found(repo: GitRepo, commit: str = "HEAD") -> Resolution:
    project = repo.project()
    sha = project.repository.commit(commit)
    return resolve(project, pipeline(), sha, executor="local", overrides={})


def origin(repo: GitRepo, commit: str = "HEAD") -> CommitSha:
    return found(repo, commit).data_git_commit_id


def refused(repo: GitRepo, *outputs: str) -> ClewError:
    project = repo.project()
    with pytest.raises(ClewError) as caught:
        data_commit_of(project, pipeline(*outputs), project.repository.commit("HEAD"))
    return caught.value


# --- histories -----------------------------------------------------------------------------------


def test_linear_history_ends_where_the_data_came_in(repo: GitRepo) -> None:
    repo.commit(data("one"))
    introduced = repo.commit(data("two"))
    repo.commit({"README": "words"})
    repo.commit(data("two", model="other"))
    assert origin(repo) == introduced


def test_the_first_commit_can_be_the_data_commit(repo: GitRepo) -> None:
    first = repo.commit(data("one"))
    repo.commit()
    assert origin(repo) == first


def test_merge_whose_parents_both_match_goes_to_the_first(repo: GitRepo) -> None:
    repo.commit(data("zero"))
    repo.git("checkout", "-q", "-b", "side")
    other = repo.commit(data("one"), "on the side")
    repo.git("checkout", "-q", "main")
    mine = repo.commit(data("one"), "on main")
    repo.git("merge", "-q", "--no-ff", "side")
    assert other != mine
    assert origin(repo) == mine


def test_merge_goes_to_the_first_although_the_second_has_the_same_files(repo: GitRepo) -> None:
    repo.commit(data("zero"))
    repo.git("checkout", "-q", "-b", "side")
    repo.commit(data("one", model="other"))
    repo.git("checkout", "-q", "main")
    mine = repo.commit(data("one"))
    tree = repo.git("rev-parse", "side^{tree}")
    merged = repo.git("commit-tree", tree, "-p", "main", "-p", "side", "-m", "merge")
    assert origin(repo, merged) == mine


def test_merge_goes_to_the_parent_that_matches(repo: GitRepo) -> None:
    repo.commit(data("zero"))
    repo.git("checkout", "-q", "-b", "side")
    introduced = repo.commit(data("one"))
    repo.commit()
    repo.git("checkout", "-q", "main")
    repo.commit({"README": "words"})
    repo.git("merge", "-q", "--no-ff", "side")
    assert origin(repo) == introduced


def test_merge_that_makes_new_data_is_the_data_commit(repo: GitRepo) -> None:
    repo.commit(data("zero"))
    repo.git("checkout", "-q", "-b", "side")
    repo.commit(data("one"))
    repo.git("checkout", "-q", "main")
    repo.commit(data("two"))
    repo.git("merge", "-q", "--no-ff", "--strategy=ours", "--no-commit", "side")
    merged = repo.commit(data("three"))
    repo.commit()
    assert origin(repo) == merged


def test_octopus_merge_goes_to_the_third_parent(repo: GitRepo) -> None:
    repo.commit(data("zero"))
    tips = {}
    for name in ("one", "two"):
        repo.git("checkout", "-q", "-b", name, "main")
        tips[name] = repo.commit(data(name))
    repo.git("checkout", "-q", "main")
    tree = repo.git("rev-parse", "two^{tree}")
    parents = [word for tip in (repo.head, tips["one"], tips["two"]) for word in ("-p", tip)]
    merged = repo.git("commit-tree", tree, *parents, "-m", "octopus")
    assert origin(repo, merged) == tips["two"]


def test_a_revert_introduces_the_state_again(repo: GitRepo) -> None:
    repo.commit(data("one"))
    repo.commit(data("two"))
    repo.git("revert", "--no-edit", "HEAD")
    reverted = repo.head
    repo.commit()
    assert origin(repo) == reverted


def test_criss_cross(repo: GitRepo) -> None:
    repo.commit(data("zero"))
    repo.git("checkout", "-q", "-b", "side")
    side = repo.commit(data("side"))
    repo.git("checkout", "-q", "main")
    main = repo.commit(data("main"))
    repo.git("merge", "-q", "--no-ff", "--strategy=ours", side)
    repo.git("checkout", "-q", "side")
    repo.git("merge", "-q", "--no-ff", "--strategy=ours", main)
    assert origin(repo, "main") == main
    assert origin(repo, "side") == side
    tree = repo.git("rev-parse", "main^{tree}")
    crossed = repo.git("commit-tree", tree, "-p", "side", "-p", "main", "-m", "crossed")
    assert origin(repo, crossed) == main


def test_moving_from_dvc_file_to_dvc_lock_changes_nothing(repo: GitRepo) -> None:
    by_hand = data("one") | {"dvc.lock": None, "dvc.yaml": None, f"{OUTPUT}.dvc": None}
    introduced = repo.commit({**by_hand, f"{OUTPUT}.dvc": dvc_file(OUTPUT, "one"), "src/a": "a"})
    repo.commit({**data("one"), f"{OUTPUT}.dvc": None})
    assert data_commit_of(repo.project(), pipeline(), repo.head).commit == introduced


def test_the_dvc_file_comes_before_dvc_lock(repo: GitRepo) -> None:
    repo.commit(data("in the lock"))
    introduced = repo.commit({f"{OUTPUT}.dvc": dvc_file(OUTPUT, "beside it")})
    assert origin(repo) == introduced


def test_a_renamed_output_is_another_data_state(repo: GitRepo) -> None:
    repo.commit(data("one", output="data/old"))
    renamed = repo.commit(data("one"))
    repo.commit()
    assert origin(repo) == renamed


def test_a_renamed_stage_is_the_same_data_state(repo: GitRepo) -> None:
    first = repo.commit(data("one"))
    renamed = {name: text.replace("  prepare:", "  make:") for name, text in data("one").items()}
    repo.commit(renamed)
    assert origin(repo) == first


def test_a_commit_that_cannot_be_read_ends_the_walk(repo: GitRepo) -> None:
    repo.commit(data("one"))
    repo.commit({"dvc.lock": "<<<<<<< HEAD\n" + data("one")["dvc.lock"]})
    repaired = repo.commit(data("one"))
    repo.commit()
    assert origin(repo) == repaired


def test_two_outputs_move_together(repo: GitRepo) -> None:
    files = data("one") | {"extra.dvc": dvc_file("extra", "a")}
    repo.commit(files)
    introduced = repo.commit({"extra.dvc": dvc_file("extra", "b")})
    repo.commit()
    state = data_commit_of(repo.project(), pipeline(OUTPUT, "extra"), repo.head)
    assert state.commit == introduced
    assert [pointer.path for pointer in state.pointers] == [OUTPUT, "extra"]


def test_a_pipeline_in_a_folder(repo: GitRepo) -> None:
    repo.commit({f"models/x/{name}": text for name, text in data("one").items()})
    first = repo.head
    repo.commit(data("two"))
    state = data_commit_of(repo.project("models/x"), pipeline(), repo.head)
    assert (state.commit, state.pointers[0].path) == (first, OUTPUT)


def test_long_histories_are_read_in_chunks(repo: GitRepo) -> None:
    first = repo.commit(data("one"))
    stream = b""
    for number in range(600):
        text = data("one", model=str(number))["dvc.lock"].encode()
        stream += b"commit refs/heads/main\ncommitter a <a@b> %d +0000\ndata 1\nx\n" % number
        stream += b"from %s\n" % first.encode() if number == 0 else b""
        stream += b"M 100644 inline dvc.lock\ndata %d\n%s\n" % (len(text), text)
    git(repo.path, "fast-import", "--quiet", "--force", stdin=stream)
    assert origin(repo, "main") == first


# --- the tag -------------------------------------------------------------------------------------


def tagged(repo: GitRepo) -> str:
    resolution = found(repo)
    repo.repository.create_tag(resolution.data_version, resolution.data_git_commit_id, "data")
    return resolution.data_version


@pytest.mark.parametrize("how", ["squash", "rebase"])
def test_squash_and_rebase_keep_fingerprint_and_data_commit(repo: GitRepo, how: str) -> None:
    base = repo.commit({"README": "words"})
    repo.git("checkout", "-q", "-b", "feature")
    introduced = repo.commit(data("one"))
    repo.commit({"src/train.py": "print(1)\n"})
    before = found(repo)
    version = tagged(repo)
    repo.git("checkout", "-q", "main")
    repo.commit({"NEWS": "words"})
    if how == "squash":
        repo.git("merge", "-q", "--squash", "feature")
        repo.commit()
    else:
        repo.git("rebase", "-q", "main", "feature")
    repo.git("branch", "-f", "old", base)
    after = found(repo)
    assert after.tagged
    assert not before.tagged
    assert after.data_git_commit_id == before.data_git_commit_id == introduced
    assert after.data_fingerprint == before.data_fingerprint
    assert after.run_fingerprint == before.run_fingerprint
    assert after.data_version == version
    assert after.commit != before.commit


def test_a_tag_on_other_data_is_unverifiable_and_names_both(repo: GitRepo) -> None:
    wrong = repo.commit(data("other"))
    repo.commit(data("one"))
    version = found(repo).data_version
    repo.git("tag", "-a", version, wrong, "-m", "moved")
    error = refused(repo)
    assert isinstance(error, Unverifiable)
    other = pointers_at(repo.project(), pipeline(), wrong)[0].md5
    mine = pointers_at(repo.project(), pipeline(), repo.head)[0].md5
    assert all(word in str(error) for word in (version, wrong, other, mine))


def test_a_tag_on_a_commit_without_data_is_unverifiable(repo: GitRepo) -> None:
    empty = repo.commit({"README": "words"})
    repo.commit(data("one"))
    repo.git("tag", found(repo).data_version, empty)
    assert isinstance(refused(repo), Unverifiable)


# --- what is refused -----------------------------------------------------------------------------


def test_missing_pointer(repo: GitRepo) -> None:
    repo.commit({**data("one"), "dvc.lock": lock({"train": {"model": "m"}})})
    assert "clew process" in str(refused(repo))


def test_lock_without_its_stage(repo: GitRepo) -> None:
    repo.commit({**data("one"), "dvc.yaml": "stages:\n  train:\n    cmd: x\n    outs: [model]\n"})
    assert "dvc.lock disagrees with dvc.yaml" in str(refused(repo))


def test_output_inside_a_tracked_folder(repo: GitRepo) -> None:
    repo.commit({**data("one"), "raw/images.dvc": dvc_file("raw/images", "a")})
    assert f"inside {OUTPUT}" in str(refused(repo, f"{OUTPUT}/train"))
    assert "inside raw/images" in str(refused(repo, "raw/images/cats"))


def test_output_above_a_tracked_folder(repo: GitRepo) -> None:
    repo.commit({**data("one"), "raw/images.dvc": dvc_file("raw/images", "a")})
    assert f"above {OUTPUT}" in str(refused(repo, "data"))
    assert "above raw/images" in str(refused(repo, "raw"))


def test_misspelt_output_gets_the_nearest_name(repo: GitRepo) -> None:
    repo.commit(data("one"))
    assert f"'{OUTPUT}'" in refused(repo, "data/perpared").fix


# --- the answer ----------------------------------------------------------------------------------


def test_json_has_the_public_names(repo: GitRepo) -> None:
    commit = repo.commit(data("one"))
    resolution = found(repo)
    answer = json.loads(json.dumps(resolution.as_json()))
    assert answer["commit"] == answer["data_git_commit_id"] == commit
    assert answer["data_fingerprint"] == data_fingerprint(resolution.outputs)
    assert answer["data_version"] == data_version("fashion", resolution.data_fingerprint)
    assert len(answer["run_fingerprint"]) == 64
    (output,) = answer["outputs"]
    assert list(output) == ["path", "hash", "md5", "size", "nfiles"]


def test_a_dirty_tree_is_another_run(repo: GitRepo) -> None:
    repo.commit(data("one"))
    project = repo.project()
    prints = {
        resolve(
            project, pipeline(), repo.head, executor="local", overrides={}, dirty=dirty
        ).run_fingerprint
        for dirty in (False, True)
    }
    assert len(prints) == 2
