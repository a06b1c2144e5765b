"""What an auditor is told after somebody left, when a model, the log or a clock hides something."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.system.people import (
    LONG_AGO,
    MODEL,
    SUBJECTS,
    People,
    asked,
    mlflow,
)
from tests.system.small import copied

BOB = SUBJECTS[1]
LOG = "refs/clew/log/small"


@pytest.fixture
def left(gone: People, tmp_path: Path) -> People:
    return copied(gone, tmp_path)


def since(people: People, *options: str, code: int, when: str = "", cwd: Path | None = None) -> Any:
    when = when or (people.folder / "moment").read_text()
    question = ("audit", "excluded", BOB, "--since", when, *options, "--json")
    done = people.clew(*question, cwd=cwd)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


def clone(people: People, *options: str) -> Path:
    """Return a fresh clone that asks the same MLflow."""
    folder = people.folder / "clone"
    people.git("clone", "-q", *options, f"file://{people.origin}", str(folder))
    (folder / ".clew").mkdir()
    for name in ("mlflow.db", "artifacts", "vault.db"):
        if (people.work / ".clew" / name).exists():
            (folder / ".clew" / name).symlink_to(people.work / ".clew" / name)
    return folder


# --- models that clew did not register, or that it registered elsewhere ---------------------------

VERSIONS = "old, new = (client.get_model_version('small-model', n) for n in '12')\n"
BY_HAND = {
    "the clean run and tags": """
client.create_model_version('small-model', old.source, run_id=new.run_id, tags=dict(new.tags))
client.set_registered_model_alias('small-model', 'production', '3')
""",
    "a run with copied params": """
run = client.create_run('0').info.run_id
for key, value in client.get_run(new.run_id).data.params.items():
    client.log_param(run, key, value)
client.create_model_version('small-model', old.source, run_id=run, tags=dict(new.tags))
client.set_registered_model_alias('small-model', 'production', '3')
""",
    "the number of the clean one": """
client.delete_registered_model('small-model')
client.create_registered_model('small-model')
for source in (new.source, old.source):
    client.create_model_version('small-model', source, run_id=new.run_id, tags=dict(new.tags))
client.set_registered_model_alias('small-model', 'production', '2')
""",
    "another name": """
client.create_registered_model('other')
client.create_model_version('other', old.source, run_id=new.run_id, tags=dict(new.tags))
client.set_registered_model_alias('other', 'champion', '1')
""",
}


@pytest.mark.parametrize("way", BY_HAND)
def test_bytes_of_one_model_with_the_words_of_another_pass_nobody(left: People, way: str) -> None:
    assert since(left, "--deployed", code=0)["verdict"] == "PASS"
    mlflow(left, VERSIONS + BY_HAND[way])
    reason = since(left, "--deployed", code=3)["reason"]
    assert "its bytes are at" in reason
    assert "its bytes are at" in asked(left, "pending", code=3)["reason"]
    named = re.match(r"models:/[a-z-]+/\d", reason)
    assert named
    uri = named[0]
    assert left.clew("audit", "model", uri).returncode in (1, 3)
    assert left.clew("audit", "records", uri).returncode == 3


def test_a_model_that_only_mlflow_knows_passes_nobody(left: People) -> None:
    known = left.git("rev-list", LOG).split()
    for ref in (LOG, "refs/clew/remote-log/small"):
        left.git("update-ref", ref, known[1])
    left.git("update-ref", LOG, known[1], cwd=left.origin)
    assert "anybody may have made it" in since(left, code=3)["reason"]
    assert "anybody may have made it" in asked(left, "pending", code=3)["reason"]
    assert left.clew("audit", "records", f"{MODEL}/2").returncode == 3


def test_copies_are_asked_and_what_they_copy_bears_them_out(left: People) -> None:
    mlflow(
        left,
        "import mlflow\nmlflow.set_registry_uri(sys.argv[1])\n"
        "client.create_registered_model('shop')\n"
        "client.copy_model_version('models:/small-model/2', 'shop')\n"
        "client.set_registered_model_alias('shop', 'champion', '1')",
    )
    assert since(left, "--deployed", code=0)["counts"]["models"] == 2
    assert "models:/shop/1" in asked(left, "pending")["models"]
    mlflow(
        left,
        "import mlflow\nmlflow.set_registry_uri(sys.argv[1])\n"
        "client.copy_model_version('models:/small-model/1', 'shop')",
    )
    assert "models:/shop/2: holds 2 records" in since(left, code=1)["reason"]
    held = asked(left, "subject", BOB)["models"]
    assert [one["model"] for one in held] == [f"{MODEL}/1", "models:/shop/2"]


def test_a_registered_model_by_its_old_name_is_still_live(left: People) -> None:
    mlflow(left, "client.set_registered_model_alias('small-model', 'production', '1')")
    left.edit("pipeline.yaml", "model: small-model", "model: small-model2")
    left.commit("Rename the model")
    since(left, "--deployed", code=1)
    assert len(asked(left, "pending")["revocations"]) == 1


# --- a log that is not whole ----------------------------------------------------------------------


def test_a_shallow_log_hides_no_model(left: People) -> None:
    mlflow(left, "client.delete_model_version('small-model', '1')")
    shallow = clone(left, "--depth=1")
    refs = "+refs/clew/*:refs/clew/*"
    left.git("fetch", "-q", "--depth=2", "origin", refs, cwd=shallow)
    assert since(left, code=1, when=LONG_AGO, cwd=shallow)["counts"]["deleted"] == 1


def test_no_log_begins_anew_unnoticed(left: People) -> None:
    mlflow(left, "client.delete_model_version('small-model', '1')")
    entries = left.git("rev-list", "--reverse", LOG).split()
    left.git("update-ref", "-d", LOG, cwd=left.origin)
    fresh = clone(left)
    refused = left.clew("run", cwd=fresh)
    assert refused.returncode == 3, refused.stderr
    assert "the Git remote has no log" in refused.stderr
    # Somebody wrote one by hand, of the second model alone.
    above: tuple[str, ...] = ()
    for entry in entries[2:]:
        message = left.git("log", "-1", "--format=%B", entry, cwd=left.work)
        tree = left.git("rev-parse", f"{entry}^{{tree}}")
        made = left.git("commit-tree", *above, "-m", message, tree)
        above = ("-p", made)
    left.git("push", "-q", "origin", f"{above[1]}:{LOG}")
    found = since(left, "--allow-deleted", code=3, when=LONG_AGO, cwd=fresh)
    assert "the log has no entry of data/small/" in found["reason"]


# --- clocks ---------------------------------------------------------------------------------------


def test_an_entry_is_not_older_than_those_before_it(left: People) -> None:
    head, first = left.git("rev-parse", LOG), left.git("rev-list", "--reverse", LOG).split()[0]
    entry = json.loads(left.git("log", "-1", "--format=%b", f"{LOG}~2"))
    long_ago = int(left.git("log", "-1", "--format=%ct", first)) - 100
    entry |= {"model": f"{MODEL}/3", "run_id": "f" * 32, "registered_at": f"{long_ago}.0"}
    tree = left.git("rev-parse", f"{LOG}^{{tree}}")
    message = f"model {MODEL}/3\n\n{json.dumps(entry)}"
    slow = {**left.variables, "GIT_COMMITTER_DATE": f"{long_ago} +0000"}
    made = People(left.folder, variables=slow).git("commit-tree", "-p", head, "-m", message, tree)
    left.git("push", "-q", "origin", f"{made}:{LOG}")
    assert "its times disagree" in since(left, code=3)["reason"]


def test_a_commit_is_no_later_than_what_the_log_saw_of_it(left: People) -> None:
    registered = left.git("log", "--format=%ct", LOG).split()[-2]
    fast = {**left.variables, "GIT_COMMITTER_DATE": f"{int(registered) + 1} +0000"}
    tree = left.git("rev-parse", "HEAD^{tree}")
    root = left.git("rev-list", "--max-parents=0", "HEAD")
    made = People(left.folder, variables=fast).git("commit-tree", "-p", root, "-m", "Fast", tree)
    assert since(left, code=0)["verdict"] == "PASS"
    assert "nothing in the log stands on that commit" in since(left, code=3, when=made)["reason"]


# --- what was found -------------------------------------------------------------------------------


def test_the_manifest_of_an_idle_model_is_read_too(left: People) -> None:
    assert asked(left, "subject", BOB)["verdict"] == "PASS"
    for place in (left.storage, left.work / ".dvc/cache"):
        for path in (p for p in place.rglob("*") if p.is_file()):
            if BOB.encode() in path.read_bytes():
                path.chmod(0o600)
                path.unlink()
    assert asked(left, "subject", BOB, code=3)["verdict"] == "UNVERIFIABLE"


def test_pending_lists_its_evidence(left: People) -> None:
    found = asked(left, "pending")["evidence"]
    data = json.loads(left.git("log", "-1", "--format=%b", f"{LOG}~1"))
    assert found == {
        "registry": left.git("rev-parse", "origin/main"),
        "log": left.git("rev-parse", LOG),
        "manifests": {data["data_version"]: data["manifest_sha256"]},
    }
