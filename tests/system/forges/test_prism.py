"""Every request to GitHub, and every answer clew reads, fits GitHub's own OpenAPI description."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from clew.adapters.github import GitHub
from clew.errors import OutsideError
from clew.forge import Comment, CommentGone, State, marker, show
from clew.identity import CommitSha
from clew.trigger.model import PullRequest
from tests.forge.prism_upstream import DESCRIPTION, Upstream, failure
from tests.forge.server import Answer

FORGE = DESCRIPTION.parents[1]
PRISM = FORGE / "node_modules" / "@stoplight" / "prism-cli" / "dist" / "index.js"
GUARD = FORGE.parent / "stand" / "guard.py"  # ends what it started when its own input ends
NODE = shutil.which("node")
COMMIT = CommitSha("0123456789abcdef0123456789abcdef01234567")
MARK = marker("digits")

pytestmark = [
    pytest.mark.skipif(not NODE, reason="there is no node"),
    pytest.mark.skipif(not PRISM.exists(), reason="there is no Prism: make prism"),
    pytest.mark.skipif(not importlib.util.find_spec("github"), reason="there is no PyGithub"),
]


@pytest.fixture(scope="module")
def _upstream() -> Iterator[Upstream]:
    with Upstream() as started:
        yield started


@pytest.fixture(scope="module")
def prism(_upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Prism between clew and the forge; with --errors it refuses whatever does not fit."""
    folder = tmp_path_factory.mktemp("prism")
    guard = [sys.executable, "-I", "-S", str(GUARD), "--"]
    command = [str(NODE), str(PRISM), "proxy", "--errors", "--port", "0", str(DESCRIPTION)]
    started = subprocess.Popen(
        [*guard, *command, _upstream.url],
        env={"PATH": os.environ["PATH"], "HOME": str(folder)},
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=(folder / "prism.log").open("wb"),
        start_new_session=True,
    )
    try:
        yield _address(folder / "prism.log", started)
    finally:
        started.communicate()  # the guard ends Prism when its input ends


def _address(log: Path, started: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + 60
    while not (found := re.search(r"is listening on (http://\S+?:\d+)", log.read_text())):
        assert started.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    return found[1]


@pytest.fixture
def upstream(_upstream: Upstream, prism: str) -> Upstream:
    """GitHub as new; what it answers leads through Prism again."""
    _upstream.forget()
    _upstream.root = prism
    return _upstream


@pytest.fixture
def forge(upstream: Upstream) -> GitHub:
    return GitHub("owner/project", "secret", upstream.root, retries=0)


def bodies(upstream: Upstream) -> list[str]:
    return [comment["body"] for comment in upstream.comments.values()]


def test_a_report_is_made_and_then_updated(forge: GitHub, upstream: Upstream) -> None:
    for text in ("first", "second"):
        assert list(show(forge, [7], "digits", f"{MARK}\n{text}")) == []
        assert bodies(upstream) == [f"{MARK}\n{text}"]


def test_a_report_is_found_behind_two_pages_of_others(forge: GitHub, upstream: Upstream) -> None:
    for number in range(230):
        upstream.say(f"comment {number}", login="somebody")
    upstream.say(f"{MARK}\nbefore")

    assert list(show(forge, [7], "digits", f"{MARK}\nafter")) == []

    assert [body for body in bodies(upstream) if body.startswith(MARK)] == [f"{MARK}\nafter"]
    pages = [request.query.get("page", "1") for request in upstream.requests if request.query]
    assert pages == ["1", "2", "3"]


def test_of_reports_made_at_once_one_stays(forge: GitHub, upstream: Upstream) -> None:
    for text in ("one", "two", "three"):
        upstream.say(f"{MARK}\n{text}")
    upstream.say(f"{MARK}\nsomebody else's", login="somebody")

    assert list(show(forge, [7], "digits", f"{MARK}\nnew")) == []

    assert bodies(upstream) == [f"{MARK}\nnew", f"{MARK}\nsomebody else's"]


def test_what_is_gone_is_left_alone(forge: GitHub, upstream: Upstream) -> None:
    gone = Comment("12345", "")

    forge.delete(7, gone)
    with pytest.raises(CommentGone):
        forge.edit(7, gone, "text")

    assert bodies(upstream) == []


LIMITED = "You have exceeded a secondary rate limit"


@pytest.mark.parametrize(
    ("fault", "wait"),
    [
        (failure(403, LIMITED, Retry_After="1"), 1),
        (failure(429, LIMITED, Retry_After="1"), 1),
        (failure(502, "Server Error"), 0),
        (failure(503, "Service Unavailable"), 0),
    ],
    ids=["403", "429", "502", "503"],
)
def test_limits_and_outages_are_waited_for(upstream: Upstream, fault: Answer, wait: float) -> None:
    patient = GitHub("owner/project", "secret", upstream.root, retries=2, patience=3)
    upstream.fail(fault)
    began = time.monotonic()

    assert list(show(patient, [7], "digits", f"{MARK}\nreport")) == []

    assert time.monotonic() - began >= wait
    first, again = upstream.requests[:2]
    assert (first.method, first.path) == (again.method, again.path)
    assert bodies(upstream) == [f"{MARK}\nreport"]


@pytest.mark.parametrize("known", [True, False], ids=["update", "create"])
def test_a_limit_on_a_write_leaves_one_comment(upstream: Upstream, *, known: bool) -> None:
    patient = GitHub("owner/project", "secret", upstream.root, retries=2, patience=3)
    if known:
        upstream.say(f"{MARK}\nbefore")
    upstream.on_write = [failure(429, LIMITED, Retry_After="1")]

    assert list(show(patient, [7], "digits", f"{MARK}\nreport")) == []

    assert bodies(upstream) == [f"{MARK}\nreport"]
    writes = [one.method for one in upstream.requests if one.method != "GET"]
    assert writes == ["PATCH" if known else "POST"] * 2


def test_an_outage_that_stays_is_told(upstream: Upstream) -> None:
    forge = GitHub("owner/project", "secret", upstream.root, retries=1)
    upstream.fail(*[failure(500, "Server Error")] * 4)

    (missing,) = show(forge, [7], "digits", f"{MARK}\nreport")

    assert missing.startswith("no report on pull request 7: GitHub answered 500")
    assert bodies(upstream) == []


def test_a_comment_deleted_by_hand_is_made_again(forge: GitHub, upstream: Upstream) -> None:
    upstream.say(f"{MARK}\nbefore")
    upstream.before_edit = upstream.comments.clear

    assert list(show(forge, [7], "digits", f"{MARK}\nafter")) == []

    assert bodies(upstream) == [f"{MARK}\nafter"]


def test_a_right_that_is_missing_is_named(forge: GitHub, upstream: Upstream) -> None:
    upstream.on_write = [failure(403, "Resource not accessible by integration")] * 2

    (missing,) = show(forge, [7], "digits", f"{MARK}\nreport")
    assert "(403): the token may lack `pull-requests: write`" in missing
    with pytest.raises(OutsideError, match="statuses: write"):
        forge.mark(COMMIT, State.SUCCESS, "gates passed", "clew/digits")

    assert (bodies(upstream), upstream.statuses) == ([], [])


def test_pull_requests_are_found(forge: GitHub) -> None:
    found = PullRequest(7, "main", "feature", fork=False)

    assert forge.pull_requests("feature") == [found]
    assert forge.pull_requests("other") == []
    assert forge.pull_request(7) == found
    assert forge.pull_request(8) is None


@pytest.mark.parametrize("state", State)
def test_a_commit_is_marked(forge: GitHub, upstream: Upstream, state: State) -> None:
    forge.mark(COMMIT, state, "gates passed " * 20, "clew/digits")

    (status,) = upstream.statuses
    assert (status["sha"], status["state"]) == (COMMIT, state.value)
    assert status["context"] == "clew/digits"
    assert len(status["description"]) == 140


def test_an_answer_that_does_not_fit_is_noticed(forge: GitHub, upstream: Upstream) -> None:
    upstream.say("hello")
    del upstream.comments[max(upstream.comments)]["created_at"]

    with pytest.raises(OutsideError):
        forge.comments(7)


def test_a_request_that_does_not_fit_is_noticed(upstream: Upstream) -> None:
    request = urllib.request.Request(
        f"{upstream.root}/repos/owner/project/statuses/{COMMIT}",
        data=json.dumps({"state": "splendid"}).encode(),
        headers={"Content-Type": "application/json"},
    )

    with pytest.raises(urllib.error.HTTPError, match="422"):
        urllib.request.urlopen(request)

    assert upstream.statuses == []
