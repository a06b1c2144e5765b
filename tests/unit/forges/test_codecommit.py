"""The report on CodeCommit's pull requests, against a small CodeCommit over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from clew.adapters.codecommit import CodeCommit
from clew.errors import ClewError, ConfigError, OutsideError
from clew.forge import Comment, CommentGone, State, marker, show
from clew.identity import CommitSha
from clew.trigger.model import PullRequest
from tests.forge.server import Answer

for package in ("boto3", "regex", "werkzeug"):  # what holds requests against AWS's own description
    pytest.importorskip(package)

if TYPE_CHECKING:
    from tests.forge.codecommit_stub import CodeCommitStub

REPOSITORY, REGION = "project", "eu-west-1"
COMMIT = CommitSha("a" * 40)
MARK = marker("digits")
SOMEBODY = "arn:aws:iam::123456789012:user/somebody"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[CodeCommitStub]:
    """CodeCommit with the pull request 7; only what AWS describes is asked and answered."""
    from tests.forge.codecommit_stub import CodeCommitStub

    with CodeCommitStub() as started:
        started.open_pull(7, "feature")
        monkeypatch.setenv("AWS_ENDPOINT_URL_CODECOMMIT", started.url)
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", started.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.delenv("AWS_PROFILE", raising=False)
        yield started
    assert started.problems == []


@pytest.fixture
def forge(server: CodeCommitStub) -> CodeCommit:
    return CodeCommit(REPOSITORY, REGION)


def put(forge: CodeCommit, text: str) -> list[str]:
    return list(show(forge, [7], "digits", f"{MARK}\n{text}"))


def test_a_report_is_made_and_then_updated(forge: CodeCommit, server: CodeCommitStub) -> None:
    for text in ("first", "second", "second"):
        assert put(forge, text) == []
        assert server.bodies(7) == [f"{MARK}\n{text}"]


def test_a_report_of_an_earlier_run_is_ours(server: CodeCommitStub) -> None:
    """A role has another session name in each run."""
    for server.session in ("build-1", "build-2"):
        assert put(CodeCommit(REPOSITORY, REGION), server.session) == []

    assert server.bodies(7) == [f"{MARK}\nbuild-2"]


def test_where_only_the_session_may_edit_the_report_is_made_anew(server: CodeCommitStub) -> None:
    server.authors_only = True

    for server.session in ("build-1", "build-2"):
        assert put(CodeCommit(REPOSITORY, REGION), server.session) == []

    assert server.bodies(7) == [f"{MARK}\nbuild-2"]


def test_a_report_is_found_behind_pages_of_others(
    forge: CodeCommit, server: CodeCommitStub
) -> None:
    for number in range(10):
        server.add(7, f"comment {number}", SOMEBODY)
    server.add(7, f"{MARK}\nbefore")

    assert put(forge, "after") == []

    assert [body for body in server.bodies(7) if body.startswith(MARK)] == [f"{MARK}\nafter"]


def test_of_reports_made_at_once_the_oldest_stays(
    forge: CodeCommit, server: CodeCommitStub
) -> None:
    for text in ("one", "two", "three"):
        server.add(7, f"{MARK}\n{text}")
    server.add(7, f"{MARK}\nnot ours", SOMEBODY)
    server.comments["7"].reverse()

    assert put(forge, "new") == []

    assert sorted(server.bodies(7)) == [f"{MARK}\nnew", f"{MARK}\nnot ours"]
    assert server.comments["7"][-1]["content"] == f"{MARK}\nnew"


def test_two_at_once_end_with_one(forge: CodeCommit, server: CodeCommitStub) -> None:
    server.before_write = lambda: server.add(7, f"{MARK}\nof the other run")

    assert put(forge, "ours") == []

    assert server.bodies(7) == [f"{MARK}\nours"]


def test_a_comment_deleted_by_hand_is_made_again(forge: CodeCommit, server: CodeCommitStub) -> None:
    put(forge, "first")
    server.before_write = lambda: server.comments["7"][0].update(deleted=True)

    assert put(forge, "second") == []

    assert server.bodies(7) == [f"{MARK}\nsecond"]


@pytest.mark.parametrize("deleted", [True, False])
def test_what_is_gone_is_left_alone(
    forge: CodeCommit, server: CodeCommitStub, deleted: bool
) -> None:
    identifier = server.add(7, "text")["commentId"]
    if deleted:
        server.comments["7"][0]["deleted"] = True
    else:
        server.comments["7"].clear()
    gone = Comment(identifier, "")

    forge.delete(7, gone)
    with pytest.raises(CommentGone, match=identifier):
        forge.edit(7, gone, "text")


def test_pull_requests_are_found_on_all_pages(forge: CodeCommit, server: CodeCommitStub) -> None:
    for number in range(10, 20):
        server.open_pull(number, f"branch-{number}")
    server.open_pull(20, "feature", repository="another")
    server.pulls["11"]["pullRequestStatus"] = "CLOSED"

    assert forge.pull_requests("feature") == [PullRequest(7, "main", "feature", fork=False)]
    assert forge.pull_requests("branch-19") == [PullRequest(19, "main", "branch-19", fork=False)]
    assert forge.pull_requests("branch-11") == []
    assert forge.pull_request(7) == PullRequest(7, "main", "feature", fork=False)


def test_numbers_count_through_all_repositories(forge: CodeCommit, server: CodeCommitStub) -> None:
    server.open_pull(20, "feature", repository="another")

    assert forge.pull_request(20) is None
    assert forge.pull_request(21) is None
    with pytest.raises(OutsideError, match="another repository"):
        forge.comment(20, "text")


def test_the_longest_comment_is_taken(forge: CodeCommit, server: CodeCommitStub) -> None:
    forge.comment(7, "x" * forge.characters)

    with pytest.raises(OutsideError, match="SizeLimit"):
        forge.comment(7, "x" * (forge.characters + 1))


def test_there_is_no_status_to_set(forge: CodeCommit, server: CodeCommitStub) -> None:
    forge.mark(COMMIT, State.SUCCESS, "fine", "clew/digits")

    assert server.requests == []


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "ThrottlingException"), (500, "InternalFailure"), (503, "ServiceUnavailable")],
)
def test_limits_and_outages_are_waited_for(
    forge: CodeCommit, server: CodeCommitStub, status: int, code: str
) -> None:
    server.fail(Answer(status, {"__type": code, "message": "later"}))

    assert [found.number for found in forge.pull_requests("feature")] == [7]


def test_a_comment_whose_answer_was_lost_is_not_made_twice(
    forge: CodeCommit, server: CodeCommitStub
) -> None:
    """The retry has the same client request token, by which CodeCommit knows it."""
    server.lose_answer("PostCommentForPullRequest")

    forge.comment(7, "text")

    assert server.bodies(7) == ["text"]
    targets = [request.headers["x-amz-target"] for request in server.requests]
    assert len([target for target in targets if target.endswith(".PostCommentForPullRequest")]) == 2


@pytest.mark.parametrize(
    ("operation", "act"),
    [
        ("ListPullRequests", lambda forge: forge.pull_requests("feature")),
        ("GetPullRequest", lambda forge: forge.pull_request(7)),
        ("GetCommentsForPullRequest", lambda forge: forge.comments(7)),
        ("PostCommentForPullRequest", lambda forge: forge.comment(7, "text")),
    ],
)
def test_a_missing_right_is_told(
    forge: CodeCommit,
    server: CodeCommitStub,
    operation: str,
    act: Callable[[CodeCommit], object],
) -> None:
    server.denied = {operation}

    with pytest.raises(ConfigError, match=f"lacks the right codecommit:{operation}"):
        act(forge)


def test_a_report_without_the_right_is_told(forge: CodeCommit, server: CodeCommitStub) -> None:
    server.denied = {"PostCommentForPullRequest"}

    (told,) = put(forge, "text")

    assert "codecommit:PostCommentForPullRequest" in told


def test_a_pull_request_that_is_not_there_is_told(
    forge: CodeCommit, server: CodeCommitStub
) -> None:
    (told,) = show(forge, [8], "digits", MARK)

    assert "PullRequestDoesNotExist" in told


def test_a_region_that_is_none_is_told() -> None:
    with pytest.raises(ClewError, match="region"):
        CodeCommit(REPOSITORY, "no region").comments(7)
