"""What `clew gc` keeps, with real Git, a real DVC cache and a real DVC remote."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clew.adapters.dvc import DvcStore
from clew.adapters.git_refs import GitRefs
from clew.errors import ConfigError, OutsideError, Unverifiable
from clew.garbage import GarbagePlan, ObjectStore, Place, Stored, find_garbage, remove
from clew.identity import CommitSha
from clew.kept import Registered
from clew.pointer_files import Held
from tests.gitrepo import git, isolate
from tests.unit.stored_data import MODEL, StoredData, lock, objects_of, pointer, reasons, removed

OLD, NEW, OTHER = ("a", "b"), ("b", "c"), ("d", "e")
NONEXISTENT = "1" * 40


@pytest.fixture(autouse=True)
def _isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    isolate(tmp_path, monkeypatch)


@pytest.fixture
def data(tmp_path: Path) -> StoredData:
    """A branch with new data; what was there before, nothing needs any more."""
    stored = StoredData(tmp_path)
    stored.commit(OLD)
    stored.commit(NEW)
    stored.push()
    return stored


def whole(stored: StoredData, *states: Sequence[str]) -> bool:
    """Tell whether the remote has these states with the right bytes, so that they can be pulled."""
    return not DvcStore(stored.repo.path, None).problems([pointer(state) for state in states])


def only(*states: Sequence[str]) -> set[str]:
    return {oid for state in states for oid in objects_of(state)}


# --- what is needed ----------------------------------------------------------------------------


def test_what_no_tip_needs_goes_from_cache_and_remote(data: StoredData) -> None:
    plan = data.clean()
    assert data.held(data.cache) == data.held(data.storage) == only(NEW)
    assert whole(data, NEW)
    assert removed(plan) == only(OLD) - only(NEW)
    for garbage in plan.garbage:
        assert set(garbage.by_path()) == {"data/prepared"}
        assert garbage.as_json()["bytes"] == sum(
            len(objects_of(OLD)[oid]) for oid in only(OLD) - only(NEW)
        )


def test_the_plan_removes_nothing(data: StoredData) -> None:
    before = data.held(data.cache), data.held(data.storage)
    assert data.plan().garbage
    assert (data.held(data.cache), data.held(data.storage)) == before


def tagged(data: StoredData) -> str:
    data.repo.git("tag", "-a", "-m", "x", "data/small/0123456789ab", "main~1")
    return "data version data/small/0123456789ab"


def released(data: StoredData) -> str:
    data.repo.git("tag", "v1", "main~1")
    return "tag v1"


def branched(data: StoredData) -> str:
    data.repo.git("branch", "old", "main~1")
    return "branch old"


def remembered(data: StoredData) -> str:
    """Only a remote-tracking branch is left of it."""
    data.repo.git("update-ref", "refs/remotes/elsewhere/old", "main~1")
    return "branch elsewhere/old"


def requested(data: StoredData) -> str:
    data.repo.git("update-ref", "refs/pull/7/head", "main~1")
    return "refs/pull/7/head"


def tag_only_on_origin(data: StoredData) -> str:
    data.repo.git("push", "-q", "origin", "main~1:refs/tags/data/small/0123456789ab")
    return "data version data/small/0123456789ab"


def branch_only_on_origin(data: StoredData) -> str:
    """A colleague's, whose commit this clone does not even have."""
    theirs = data.repo.clone(data.top / "colleague")
    theirs.git("checkout", "-q", "-b", "theirs")
    theirs.commit({"dvc.lock": lock(OLD)})
    theirs.git("push", "-q", "origin", "theirs")
    return "branch theirs"


def branch_elsewhere_on_origin(data: StoredData) -> str:
    data.repo.git("push", "-q", "origin", "main~1:refs/heads/side")
    data.repo.git("branch", "side", "main")
    return "branch side in the Git remote"


def registered(data: StoredData) -> str:
    data.models.register("models:/small-model/1", data.repo.git("rev-parse", "main~1"))
    return "model version models:/small-model/1"


def registered_elsewhere(data: StoredData) -> str:
    """Another pipeline's model."""
    data.models.register("models:/x/1", data.repo.git("rev-parse", "main~1"), "x")
    return "model version models:/x/1"


def stashed(data: StoredData) -> str:
    """Not even the newest stash."""
    data.repo.write({"dvc.lock": lock(OLD)})
    data.repo.git("stash", "-q")
    data.repo.write({"README": "later"})
    data.repo.git("stash", "-q")
    return "stash@{1}"


def in_another_work_tree(data: StoredData) -> str:
    data.repo.git("worktree", "add", "-q", "--detach", str(data.top / "beside"), "main~1")
    return f"working tree {data.top / 'beside'}"


def not_committed(data: StoredData) -> str:
    data.repo.write({"dvc.lock": lock(OLD)})
    return f"working tree {data.repo.path}"


def not_even_known_to_git(data: StoredData) -> str:
    data.repo.write(
        {"new/dvc.lock": lock(OLD), "new/dvc.yaml": (data.repo.path / "dvc.yaml").read_bytes()}
    )
    return f"working tree {data.repo.path}"


def only_staged(data: StoredData) -> str:
    data.repo.write({"dvc.lock": lock(OLD)})
    data.repo.git("add", "dvc.lock")
    data.repo.write({"dvc.lock": lock(NEW)})
    return f"index of {data.repo.path}"


def another_pipeline(data: StoredData) -> str:
    data.commit(OLD, "models/other")
    return "branch main"


def added(data: StoredData) -> str:
    text = f"outs:\n- md5: {pointer(OLD).md5}\n  hash: md5\n  path: raw\n"
    data.repo.commit({"deep/in/it/raw.dvc": text})
    return "branch main"


def imported(data: StoredData) -> str:
    dep = "deps:\n- path: x\n  repo: {url: https://example.com/r, rev_lock: abc}\n"
    text = f"{dep}outs:\n- md5: {pointer(OLD).md5}\n  hash: md5\n  path: raw\n"
    data.repo.commit({"raw.dvc": text})
    return "branch main"


def in_the_old_layout(data: StoredData) -> str:
    """DVC 1 and 2 named no algorithm and kept objects beside `files/`."""
    text = f"outs:\n- md5: {pointer(OLD).md5}\n  path: raw\n"
    data.repo.commit({"raw.dvc": text})
    for place in (data.cache, data.storage):
        for oid in only(OLD) - only(NEW):
            path = place / "files/md5" / oid[:2] / oid[2:]
            moved = place / oid[:2] / oid[2:]
            moved.parent.mkdir(exist_ok=True)
            path.rename(moved)
    return "branch main"


KEEPERS: list[Callable[[StoredData], str]] = [
    *(tagged, released, branched, remembered, requested, tag_only_on_origin),
    *(branch_only_on_origin, branch_elsewhere_on_origin, registered, registered_elsewhere),
    *(stashed, in_another_work_tree, not_committed, not_even_known_to_git, only_staged),
    *(another_pipeline, added, imported, in_the_old_layout),
]


@pytest.mark.parametrize("keeper", KEEPERS, ids=lambda keeper: keeper.__name__)
def test_each_reason_keeps_what_it_needs_whole(
    data: StoredData, keeper: Callable[[StoredData], str]
) -> None:
    data.put(OTHER)
    reason = keeper(data)
    plan = data.clean()
    assert reason in reasons(plan)
    assert data.held(data.storage) == only(OLD, NEW)
    assert data.held(data.cache) == only(OLD, NEW)


def test_the_run_cache_is_left(data: StoredData) -> None:
    entry = data.cache / "runs/ab" / ("ab" * 32) / ("cd" * 32)
    entry.parent.mkdir(parents=True)
    entry.write_text("outs: []\n")
    data.clean()
    assert entry.exists()


def test_what_is_not_dvcs_is_left(data: StoredData) -> None:
    strangers = [
        data.storage / "README",
        data.storage / "files/md5/ab/tmp.part",
        data.storage / "x/y",
    ]
    for stranger in strangers:
        stranger.parent.mkdir(parents=True, exist_ok=True)
        stranger.write_text("not an object")
    data.clean()
    assert all(stranger.exists() for stranger in strangers)


def test_what_is_young_is_kept_with_the_older_files_that_it_lists(data: StoredData) -> None:
    """A run has pushed a folder that reuses old files, and has not committed it yet."""
    data.clean(hours=24)
    assert data.held(data.storage) == only(OLD, NEW)
    listing = next(oid for oid in objects_of(OLD) if oid.endswith(".dir"))
    plan = find_garbage(
        replace(data.sources(Aged.but(listing)), reporter=data.sources().reporter),
        model=MODEL,
        grace=timedelta(hours=24),
        cache_only=False,
    )
    assert "younger than 24 h" in reasons(plan)
    assert not removed(plan)
    aged = find_garbage(
        data.sources(Aged.but("")), model=MODEL, grace=timedelta(hours=24), cache_only=False
    )
    assert removed(aged) == only(OLD) - only(NEW)


def test_cache_only_leaves_the_remote(data: StoredData) -> None:
    data.clean(cache_only=True)
    assert data.held(data.cache) == only(NEW)
    assert data.held(data.storage) == only(OLD, NEW)


# --- evidence that is missing ------------------------------------------------------------------


def refuses(data: StoredData, *words: str) -> None:
    before = data.held(data.cache), data.held(data.storage)
    try:
        said = " ".join(data.plan().problems)
    except Unverifiable as error:
        said = str(error)
    assert said
    for word in words:
        assert word in said
    with pytest.raises(Unverifiable):
        data.clean()
    assert (data.held(data.cache), data.held(data.storage)) == before


def test_a_listing_that_nobody_has(data: StoredData) -> None:
    data.repo.git("branch", "unpushed")
    data.repo.git("checkout", "-q", "unpushed")
    data.repo.commit({"dvc.lock": lock(("x", "y"))})
    refuses(data, "branch unpushed", pointer(("x", "y")).md5, "dvc push")


def test_a_listing_that_is_corrupt_everywhere(data: StoredData) -> None:
    for place in (data.cache, data.storage):
        oid = pointer(NEW).md5
        (place / "files/md5" / oid[:2] / oid[2:]).write_text("[]")
    refuses(data, "branch main", "data/prepared", "corrupt")


def test_a_listing_that_only_the_cache_has_will_do(data: StoredData) -> None:
    oid = pointer(NEW).md5
    (data.storage / "files/md5" / oid[:2] / oid[2:]).unlink()
    data.clean()
    assert data.held(data.cache) == only(NEW)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("dvc.lock", "<<<<<<< HEAD\n=======\n>>>>>>> x\n"),
        ("dvc.lock", "stages: {}\n"),
        ("dvc.yaml", "stages: [\n"),
        ("raw.dvc", "outs: [\n"),
        ("raw.dvc", "outs:\n- {md5: nonsense, path: raw}\n"),
        ("raw.dvc", "- a\n"),
    ],
)
def test_a_pointer_file_that_cannot_be_read(data: StoredData, path: str, text: str) -> None:
    data.repo.commit({path: text})
    data.push()
    refuses(data, "branch main", "can't be read")


def test_a_model_whose_commit_is_gone(data: StoredData) -> None:
    data.models.register("models:/small-model/1", NONEXISTENT)
    refuses(data, "models:/small-model/1", NONEXISTENT[:12])


def test_a_model_that_says_nothing_of_its_data(data: StoredData) -> None:
    data.models.register("models:/small-model/1", "")
    refuses(data, "models:/small-model/1", "data_git_commit_id")


def test_a_model_of_another_repository_with_the_same_dvc_remote(data: StoredData) -> None:
    data.models.versions["x"] = Registered(
        "models:/x/1", "x", NONEXISTENT, "https://example.com/x", str(data.storage)
    )
    refuses(data, "models:/x/1")


def test_a_model_of_another_repository_altogether_is_no_concern(data: StoredData) -> None:
    data.models.versions["x"] = Registered(
        "models:/x/1", "x", NONEXISTENT, "https://example.com/x", "s3://elsewhere/x"
    )
    data.clean()
    assert data.held(data.storage) == only(NEW)


def test_no_git_remote(data: StoredData) -> None:
    data.repo.git("remote", "remove", "origin")
    refuses(data, "no Git remote", "--cache-only")
    data.clean(cache_only=True)
    assert data.held(data.cache) == only(NEW)


def test_a_git_remote_that_does_not_answer(data: StoredData) -> None:
    shutil.rmtree(data.origin)
    with pytest.raises(OutsideError):
        data.clean()
    assert data.held(data.storage) == only(OLD, NEW)


def test_a_shallow_clone_of_one_branch_keeps_the_others(data: StoredData) -> None:
    data.repo.git("push", "-q", "origin", "main~1:refs/tags/data/small/0123456789ab")
    shallow = data.repo.path.with_name("shallow")
    git(data.top, "clone", "-q", "--depth=1", "--no-tags", f"file://{data.origin}", str(shallow))
    sources = replace(data.sources(), refs=GitRefs(shallow, str(data.storage)))
    plan = find_garbage(sources, model=MODEL, grace=timedelta(), cache_only=False)
    assert "data version data/small/0123456789ab" in reasons(plan)
    assert not removed(plan)


def test_branches_that_move_meanwhile_stop_it(data: StoredData) -> None:
    plan = data.plan()
    data.repo.git("push", "-q", "origin", "main~1:refs/tags/data/small/0123456789ab")
    with pytest.raises(OutsideError, match="changed meanwhile"):
        remove(data.sources(), plan, cache_only=False)
    assert data.held(data.storage) == only(OLD, NEW)


@pytest.mark.parametrize("option", ["version_aware", "worktree"])
def test_a_cloud_versioned_remote_is_refused(data: StoredData, option: str) -> None:
    config = data.repo.path / ".dvc/config"
    config.write_text(config.read_text() + f"    {option} = true\n")
    with pytest.raises(ConfigError, match="cloud-versioned"):
        data.clean()
    assert data.held(data.storage) == only(OLD, NEW)


def test_a_cache_that_others_may_share_is_left_alone(data: StoredData) -> None:
    shared = data.top / "shared"
    data.cache.rename(shared)
    config = data.repo.path / ".dvc/config"
    config.write_text(f"[cache]\n    dir = {shared}\n{config.read_text()}")
    data.clean()
    assert data.held(shared) == only(OLD, NEW)
    assert data.held(data.storage) == only(NEW)
    with pytest.raises(ConfigError, match="other repositories"):
        data.clean(cache_only=True)


# --- killed in the middle ----------------------------------------------------------------------


class Watched(Place):
    """A place that tells before each single object is removed."""

    def __init__(self, inner: Place, told: Callable[[], None]) -> None:
        self.name, self.url, self._inner, self._told = inner.name, inner.url, inner, told

    @property
    def note(self) -> str:
        return self._inner.note

    def objects(self) -> list[Stored]:
        return self._inner.objects()

    def remove(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._told()
            self._inner.remove([key])


class Aged(Place):
    """A place whose objects are old, but for one."""

    def __init__(self, inner: Place, young: str) -> None:
        self.name, self.url, self._inner, self._young = inner.name, inner.url, inner, young

    @property
    def note(self) -> str:
        return ""

    def objects(self) -> list[Stored]:
        month = timedelta(days=30)
        return [
            one
            if one.oid == self._young or not one.modified
            else replace(one, modified=one.modified - month)
            for one in self._inner.objects()
        ]

    def remove(self, keys: Sequence[str]) -> None:
        raise AssertionError("nothing is removed in this test")

    @staticmethod
    def but(young: str) -> Callable[[ObjectStore], ObjectStore]:
        return lambda store: Wrapped(store, lambda place: Aged(place, young))


class Wrapped(ObjectStore):
    """A store whose places are wrapped."""

    def __init__(self, inner: ObjectStore, wrap: Callable[[Place], Place]) -> None:
        self._inner, self._wrap = inner, wrap

    def listings(self, folders: Collection[Held]) -> Iterator[tuple[str, Collection[str] | None]]:
        return self._inner.listings(folders)

    def shared_cache(self) -> str | None:
        return self._inner.shared_cache()

    def places(self, *, remote: bool) -> list[Place]:
        return [self._wrap(place) for place in self._inner.places(remote=remote)]


def killed_at(data: StoredData, number: int) -> bool:
    """Clean up in a child that is killed before it removes the object of this number."""
    pid = os.fork()
    if pid == 0:
        left = number

        def told() -> None:
            nonlocal left
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

        code = 1
        try:
            sources = data.sources(lambda store: Wrapped(store, lambda place: Watched(place, told)))
            plan = find_garbage(sources, model=MODEL, grace=timedelta(), cache_only=False)
            remove(sources, plan, cache_only=False)
            code = 0
        finally:
            os._exit(code)
    ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert ended in (0, -signal.SIGKILL)
    return ended != 0


def test_killed_anywhere_no_folder_looks_whole_that_is_not(data: StoredData) -> None:
    states = [OLD, OTHER, ("a", "d"), NEW]
    for state in states:
        data.commit(state)
    killed = 0
    while killed_at(data, 1 if killed else 0):
        killed += 1
        for place in (data.cache, data.storage):
            held = data.held(place)
            for state in states:
                if pointer(state).md5 in held:
                    assert set(objects_of(state)) <= held
        assert set(objects_of(NEW)) <= data.held(data.storage)
    assert killed > 5
    assert data.held(data.cache) == data.held(data.storage) == only(NEW)


# --- any history -------------------------------------------------------------------------------

ACTIONS = st.one_of(
    st.tuples(
        st.just("commit"),
        st.frozensets(st.sampled_from("abcdef"), min_size=1, max_size=4),
        st.sampled_from(["", "models/other"]),
    ),
    st.tuples(
        st.sampled_from(["branch", "unbranch", "tag", "untag", "register", "unregister"]),
        st.integers(0, 3),
        st.booleans(),
    ),
)


class History:
    """Carries out actions and knows by itself which states are needed."""

    def __init__(self, stored: StoredData) -> None:
        self.stored = stored
        self.states: dict[CommitSha, dict[str, frozenset[str]]] = {stored.repo.head: {}}

    def act(self, action: tuple[str, object, object]) -> None:
        name, what, where = action
        git_ = self.stored.repo.git
        head = self.stored.repo.head
        if name == "commit":
            assert isinstance(what, frozenset)
            made = self.stored.commit(sorted(what), str(where))
            self.states[made] = {**self.states[head], str(where): what}
        elif name == "branch":
            git_("checkout", "-q", "-B", f"b{what}")
        elif name == "unbranch":
            git_("checkout", "-q", "--detach")
            if self.refs(f"refs/heads/b{what}"):
                git_("branch", "-q", "-D", f"b{what}")
        elif name == "tag":
            git_("tag", "-f", "-a", "-m", "x", f"data/small/{what}")
            if where:
                git_("push", "-q", "-f", "origin", f"data/small/{what}")
        elif name == "untag":
            if self.refs(f"refs/tags/data/small/{what}"):
                git_("tag", "-d", f"data/small/{what}")
        elif name == "register":
            self.stored.models.register(f"models:/small-model/{what}", head)
        else:
            self.stored.models.versions.pop(f"models:/small-model/{what}", None)

    def refs(self, pattern: str = "", where: Path | None = None) -> set[CommitSha]:
        command = [
            "for-each-ref",
            "--format=%(objectname) %(*objectname)",
            *filter(None, [pattern]),
        ]
        rows = git(where or self.stored.repo.path, *command).splitlines()
        return {CommitSha(row.split()[-1]) for row in rows}

    def needed(self) -> Iterator[frozenset[str]]:
        models = {CommitSha(one.commit) for one in self.stored.models.registered()}
        tips = {self.stored.repo.head} | self.refs() | self.refs(where=self.stored.origin)
        for tip in tips | models:
            yield from self.states[tip].values()


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(ACTIONS, min_size=1, max_size=14))
def test_any_history_keeps_all_that_is_needed_and_nothing_else(
    actions: list[tuple[str, object, object]],
) -> None:
    with tempfile.TemporaryDirectory(prefix="clew-test-") as folder:
        stored = StoredData(Path(folder))
        history = History(stored)
        for action in actions:
            history.act(action)
        states = [tuple(sorted(state)) for state in history.needed()]
        plan: GarbagePlan = stored.clean()
        assert not plan.problems
        assert whole(stored, *states)
        assert stored.held(stored.storage) == stored.held(stored.cache) == only(*states)
        assert not removed(stored.plan())
