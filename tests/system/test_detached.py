"""Leaving while a job runs, and coming back."""

from __future__ import annotations

import json

from tests.system.small import Small
from tests.system.state import end_state


def test_each_call_starts_or_finds_a_job_and_leaves(small: Small) -> None:
    jobs: list[str] = []
    for _ in range(20):
        done = small.clew("run", "--detach", "--json")
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        if "detached" not in answer:
            break
        assert "goes on" in done.stderr
        jobs.append(answer["detached"])
        assert small.clew("wait", jobs[-1]).returncode == 0
    assert [name.rsplit("-", 3)[1] for name in dict.fromkeys(jobs)] == ["process", "train"]
    state = end_state(small)
    assert len(state["jobs"]) == 2
    assert state["versions"] == [1]


def test_forced_processing_is_left_and_taken_up_once(ran: Small) -> None:
    forced = ("run", "--force", "--detach", "--json")
    job = json.loads(ran.clew(*forced).stdout)["detached"]
    assert job.endswith("-1")
    assert ran.clew("wait", job).returncode == 0
    assert json.loads(ran.clew(*forced).stdout)["process"]["job"] == job
    assert json.loads(ran.clew("run", "--force", "--json").stdout)["process"]["job"][-2:] == "-2"
