"""What holds whatever a branch says of itself: rules, registry and who a model is of."""

from __future__ import annotations

import json

import pytest

from tests.system.people import MODEL, SUBJECTS, People, change_tag, revoke
from tests.system.state import tracked

BOB = SUBJECTS[1]


def aside(people: People, old: str, new: str, start: str = "HEAD") -> None:
    """Start a branch with another pipeline.yaml and another model."""
    people.git("checkout", "-qb", "side", start)
    people.edit("pipeline.yaml", old, new)
    people.edit("params.yaml", "lr: 0.5", "lr: 0.6")
    people.commit("Go aside")


def carriers(people: People) -> dict[str, str]:
    """Return which model has which alias."""
    return {alias: f"{MODEL}/{number}" for alias, number in tracked(people)["aliases"]}


OWN_RULES = {
    "promotion": ("records:", "promotion: {branch: side}\nrecords:"),
    "consent": ("consent: {registry: data/consent.csv}\n", ""),
    "registry": ("registry: data/consent.csv", "registry: uv.lock"),
    "records": ("records: {", "records: {subject: label, "),
}


@pytest.mark.parametrize("rule", OWN_RULES)
def test_a_branch_with_rules_of_its_own_promotes_nobody_who_revoked(
    known: People, rule: str
) -> None:
    revoke(known, BOB)
    aside(known, *OWN_RULES[rule], start="HEAD~1")
    refused = known.clew("run")
    assert refused.returncode in (1, 3), refused.stdout + refused.stderr
    assert "nothing is trained" in refused.stderr
    assert set(carriers(known).values()) == {f"{MODEL}/1"}


@pytest.mark.parametrize("rule", ["promotion", "consent"])
def test_other_rules_count_once_they_are_merged(known: People, rule: str) -> None:
    aside(known, *OWN_RULES[rule])
    ran = known.clew("run")
    assert ran.returncode == 0, ran.stderr
    why = f"not promoted: its pipeline.yaml has another {rule} than main in the Git remote"
    assert why in ran.stdout
    assert set(carriers(known).values()) == {f"{MODEL}/1"}
    again = known.clew("run")
    assert why in again.stdout
    known.git("push", "-q", "origin", "side:main")
    merged = known.clew("run", "--branch", "side" if rule == "promotion" else "main")
    assert merged.returncode == 0, merged.stderr
    assert set(carriers(known).values()) == {f"{MODEL}/2"}


def test_a_branch_with_other_rules_takes_nothing_from_the_model_in_production(
    known: People,
) -> None:
    before = tracked(known)["version tags"]
    known.git("checkout", "-qb", "side")
    known.edit("pipeline.yaml", *OWN_RULES["promotion"])
    known.commit("Another branch")
    ran = known.clew("run")
    assert "not promoted: its pipeline.yaml has another promotion" in ran.stdout
    assert tracked(known)["version tags"] == before


def test_the_first_run_needs_no_pipeline_in_the_default_branch(people: People) -> None:
    people.git("checkout", "-qb", "start")
    people.git("push", "-q", "origin", "start")
    tree = people.git("mktree", "--missing")
    empty = people.git("commit-tree", "-m", "Nothing yet", tree)
    people.git("push", "-qf", "origin", f"{empty}:refs/heads/main")
    ran = people.clew("run")
    assert ran.returncode == 0, ran.stderr
    assert "alias candidate" in ran.stderr + ran.stdout


def test_a_pipeline_that_moved_aside_promotes_nothing(known: People) -> None:
    known.edit("pipeline.yaml", *OWN_RULES["promotion"])
    known.edit("pipeline.yaml", OWN_RULES["consent"][0], "")
    known.edit("pipeline.yaml", "sqlite:///", "sqlite:///../")
    known.edit("pipeline.yaml", "../home", "../../home")
    known.edit("params.yaml", "lr: 0.5", "lr: 0.6")
    known.git("checkout", "-qb", "side")
    (known.work / "models").mkdir()
    for name in ("stages", "data", "dvc.yaml", "dvc.lock", "params.yaml", "pipeline.yaml"):
        known.git("mv", "-k", name, f"models/{name}")
    known.git("mv", "uv.lock", "models/uv.lock")
    known.commit("Move it")
    ran = known.clew("run", "--pipeline", "models/pipeline.yaml")
    assert "not promoted: main in the Git remote has this pipeline as pipeline.yaml" in ran.stdout
    assert set(carriers(known).values()) == {f"{MODEL}/1"}


# --- what tags say is not what a model is ---------------------------------------------------------


def test_a_tag_makes_no_other_model_that_of_a_run(known: People) -> None:
    known.edit("params.yaml", "lr: 0.5", "lr: 0.6")
    known.commit("Another rate")
    change_tag(known, "run_fingerprint", known.answer("resolve")["run_fingerprint"])
    before = tracked(known)["version tags"]
    refused = known.clew("run")
    assert refused.returncode == 3, refused.stdout
    assert f"{MODEL}/1 says it is the model of this run" in refused.stderr
    assert "run_fingerprint is another's" in refused.stderr
    assert tracked(known)["version tags"] == before


def test_a_whole_set_of_edited_tags_makes_no_model_clean(known: People) -> None:
    revoke(known, BOB)
    assert known.clew("run").returncode == 0
    rows = tracked(known)["version tags"]
    clean = {key: value for number, key, value in rows if number == 2}
    for name in ("data_version", "data_fingerprint", "data_git_commit_id"):
        change_tag(known, name, clean[name])
    kept = known.answer("reconcile")["consent"]["models"]
    assert {uri: one["verdict"] for uri, one in kept.items()} == {
        f"{MODEL}/1": "unverifiable",
        f"{MODEL}/2": "clean",
    }
    assert "is not what the log has" in kept[f"{MODEL}/1"]["reason"]
    asked = known.clew("audit", "model", f"{MODEL}/1", "--json")
    (agree,) = [c for c in json.loads(asked.stdout)["checks"] if "subjects agree" in c["what"]]
    assert agree["verdict"] == "UNVERIFIABLE"


REVOKED_MEANWHILE = """\
#!/bin/sh
while read -r old new ref; do
  case "$ref $(git log -1 --format=%s "$new")" in
    "refs/clew/log/small model"*) git update-ref refs/heads/main refs/kept/revoked ;;
  esac
done
"""


def test_a_revocation_while_a_model_is_registered_stops_its_promotion(known: People) -> None:
    known.edit("params.yaml", "lr: 0.5", "lr: 0.6")
    known.commit("Another rate")
    revoke_unseen(known)
    held = known.clew("run")
    assert held.returncode == 1, held.stderr
    assert "not promoted: it holds 2 records of subjects without consent" in held.stdout
    assert set(carriers(known).values()) == {f"{MODEL}/1"}
    tags = {key: value for number, key, value in tracked(known)["version tags"] if number == 2}
    assert tags["clew.consent"] == "withdrawn"
    assert "without consent" in tags["clew.unfit"]


def revoke_unseen(people: People) -> None:
    """Let somebody's revocation reach the remote as soon as the log has the next model."""
    sound = people.registry.read_text()
    people.registry.write_text(sound.replace(f"{BOB},active", f"{BOB},revoked"))
    people.git("commit", "-qam", "Revoke")
    people.git("push", "-q", "origin", "HEAD:refs/kept/revoked")
    people.git("reset", "-q", "--hard", "HEAD~1")
    hook = people.origin / "hooks/post-receive"
    hook.write_text(REVOKED_MEANWHILE)
    hook.chmod(0o755)


REGISTERED_AGAIN = """
import sys, mlflow
client = mlflow.MlflowClient(sys.argv[1])
old = client.get_model_version('small-model', '1')
for _ in range(24):
    client.create_model_version('small-model', old.source, run_id=old.run_id, tags=dict(old.tags))
"""


def test_no_model_is_too_old_to_be_looked_at(known: People) -> None:
    known.python(REGISTERED_AGAIN, f"sqlite:///{known.work}/.clew/mlflow.db")
    known.git("checkout", "-qb", "bob-leaves")
    revoke(known, BOB)
    report = json.loads(known.clew("report", "--format", "json").stdout)
    assert len(report["consent"]["affected"]) == 25
    assert report["consent"]["affected"][0]["live"]
    known.git("push", "-q", "origin", "bob-leaves:main")
    kept = known.answer("reconcile")["consent"]["models"]
    clean = {uri for uri, one in kept.items() if one["verdict"] == "clean"}
    assert {f"{MODEL}/{number}" for number in range(1, 26)} == kept.keys() - clean
    tags = tracked(known)["version tags"]
    said = {number: value for number, key, value in tags if key == "clew.consent"}
    assert "clean" not in {said[number] for number in range(1, 26)}
