"""How a trained branch gets to the promotion branch: never by training again."""

from __future__ import annotations

import shutil

import pytest

from tests.system.ci.events import pushed
from tests.system.small import Small
from tests.system.state import tracked

MERGES = {
    "merge": ("merge", "-q", "--no-ff", "-m", "Merge it", "feature"),
    "squash": ("merge", "-q", "--squash", "feature"),
    "rebase": ("cherry-pick", "main..feature"),
    "fast forward": ("merge", "-q", "--ff-only", "feature"),
}


@pytest.mark.parametrize("how", MERGES)
@pytest.mark.parametrize("changed", [("count: 5", "count: 6"), ("lr: 0.5", "lr: 0.6")])
def test_a_merge_promotes_what_the_branch_trained(
    ran: Small, how: str, changed: tuple[str, str]
) -> None:
    main = ran.git("rev-parse", "HEAD")
    ran.git("checkout", "-qb", "feature")
    ran.edit("params.yaml", *changed)
    ran.commit("A change")
    trained = pushed(ran, main, "feature").answer("ci")
    assert trained["register"]["aliases"] == ["candidate"]
    jobs = sorted((ran.work / ".clew/jobs").iterdir())
    ran.git("pull", "-q", "--ff-only", "origin", "feature")
    ran.git("checkout", "-q", "main")
    if how == "rebase":  # forges rewrite the commits, as dates and parents differ
        (ran.work / "README.md").write_text("# Somebody else's\n")
        ran.commit("Words")
    ran.git(*MERGES[how])
    if how == "squash":
        ran.git("commit", "-qm", "All of it")
    ran.git("push", "-q", "origin", "main")
    ran.git("push", "-q", "origin", ":feature")
    ran.git("branch", "-qD", "feature")
    clone = fresh_clone(ran)
    merged = pushed(clone, main).answer("ci")
    assert merged["train"]["reused"]
    assert merged["register"]["aliases"] == ["candidate", "production"], merged["register"]
    assert tracked(ran)["versions"] == [1, 2]
    assert sorted((ran.work / ".clew/jobs").iterdir()) == jobs
    traced = clone.clew("trace", "models:/small-model@production")
    assert traced.returncode == 0, traced.stdout


def fresh_clone(small: Small) -> Small:
    """Clone anew what the origin keeps, as CI does, with the same MLflow database."""
    elsewhere = small.folder / "elsewhere"
    elsewhere.mkdir()
    shutil.move(small.work / ".clew", elsewhere / ".clew")
    shutil.rmtree(small.work)
    small.git("clone", "-q", "--no-local", "origin.git", "work", cwd=small.folder)
    shutil.move(elsewhere / ".clew", small.work / ".clew")
    return small
