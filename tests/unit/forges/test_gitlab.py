"""The report on merge requests, against a small GitLab over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from clew.errors import OutsideError
from clew.forge import Comment, CommentGone, State, marker, show
from clew.identity import CommitSha
from clew.trigger.model import PullRequest
from tests.forge.gitlab_stub import PROJECT, SOMEBODY, TOKEN, GitLabStub
from tests.forge.server import Answer

pytest.importorskip("gitlab")

if TYPE_CHECKING:
    from clew.adapters.gitlab import GitLab

COMMIT = CommitSha("a" * 40)
MARK = marker("digits")


@pytest.fixture
def server() -> Iterator[GitLabStub]:
    """GitLab with the merge request 7; whatever a test does, only documented requests are made."""
    with GitLabStub() as started:
        started.open_merge(7, "feature")
        yield started
    assert started.refused == []


@pytest.fixture
def forge(server: GitLabStub) -> GitLab:
    return opened(server)


def opened(server: GitLabStub, token: str = TOKEN, retries: int = 1, patience: int = 1) -> GitLab:
    from clew.adapters.gitlab import GitLab

    return GitLab(PROJECT, token, server.url, retries=retries, patience=patience)


def put(forge: GitLab, text: str) -> list[str]:
    return list(show(forge, [7], "digits", f"{MARK}\n{text}"))


def test_a_report_is_made_and_then_updated(forge: GitLab, server: GitLabStub) -> None:
    for text in ("first", "second", "second"):
        assert put(forge, text) == []
        assert server.bodies(7) == [f"{MARK}\n{text}"]

    assert [request.method for request in server.requests].count("PUT") == 1


def test_a_report_is_found_behind_pages_of_others(forge: GitLab, server: GitLabStub) -> None:
    for number in range(230):
        server.add(7, f"comment {number}", SOMEBODY)
    server.add(7, f"{MARK}\nbefore")

    assert put(forge, "after") == []

    assert [body for body in server.bodies(7) if body.startswith(MARK)] == [f"{MARK}\nafter"]


def test_pages_are_asked_for_where_the_remote_is(forge: GitLab, server: GitLabStub) -> None:
    """An `external_url` that is set wrongly must not lead the token astray."""
    with GitLabStub() as elsewhere:
        server.root = elsewhere.url
        for number in range(130):
            server.add(7, f"comment {number}")

        assert len(forge.comments(7)) == 130
        assert elsewhere.requests == []


def test_comments_are_our_own_with_the_oldest_first(forge: GitLab, server: GitLabStub) -> None:
    server.add(7, "one")
    server.add(7, "two", SOMEBODY)
    server.add(7, "three")

    assert [comment.body for comment in forge.comments(7)] == ["one", "three"]


def test_of_reports_made_at_once_the_oldest_stays(forge: GitLab, server: GitLabStub) -> None:
    for text in ("one", "two", "three"):
        server.add(7, f"{MARK}\n{text}")
    server.add(7, f"{MARK}\nnot ours", SOMEBODY)
    oldest = server.notes[7][0]["id"]

    assert put(forge, "new") == []

    assert server.bodies(7) == [f"{MARK}\nnew", f"{MARK}\nnot ours"]
    assert server.notes[7][0]["id"] == oldest


def test_two_at_once_end_with_one(forge: GitLab, server: GitLabStub) -> None:
    server.before_write = lambda: server.add(7, f"{MARK}\nof the other run")

    assert put(forge, "ours") == []

    assert server.bodies(7) == [f"{MARK}\nours"]


def test_a_comment_deleted_by_hand_is_made_again(forge: GitLab, server: GitLabStub) -> None:
    put(forge, "first")
    server.before_write = server.notes[7].clear

    assert put(forge, "second") == []

    assert server.bodies(7) == [f"{MARK}\nsecond"]


def test_what_is_gone_is_left_alone(forge: GitLab, server: GitLabStub) -> None:
    gone = Comment("12345", "")

    forge.delete(7, gone)
    with pytest.raises(CommentGone, match="12345"):
        forge.edit(7, gone, "text")


def test_merge_requests_are_found(forge: GitLab, server: GitLabStub) -> None:
    server.open_merge(8, "feature", fork=True)
    server.open_merge(9, "other")
    found = PullRequest(7, "main", "feature", fork=False)

    assert forge.pull_requests("feature") == [found]
    assert forge.pull_requests("none") == []
    assert forge.pull_request(7) == found
    assert forge.pull_request(8) == PullRequest(8, "main", "feature", fork=True)
    assert forge.pull_request(10) is None


def test_closed_merge_requests_are_not_found(forge: GitLab, server: GitLabStub) -> None:
    server.merges[0]["state"] = "merged"

    assert forge.pull_requests("feature") == []


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (State.PENDING, "pending"),
        (State.SUCCESS, "success"),
        (State.FAILURE, "failed"),
        (State.ERROR, "failed"),
    ],
)
def test_a_commit_is_marked(forge: GitLab, server: GitLabStub, state: State, said: str) -> None:
    forge.mark(COMMIT, state, "gates passed " * 40, "clew/digits")

    (status,) = server.statuses
    assert (status["sha"], status["state"], status["name"]) == (COMMIT, said, "clew/digits")
    assert len(status["description"]) == 255


def test_a_commit_is_marked_again(forge: GitLab, server: GitLabStub) -> None:
    """Whoever waits may say so twice: a run that was killed is begun again."""
    for state in (State.PENDING, State.PENDING, State.SUCCESS):
        forge.mark(COMMIT, state, "", "clew/digits")

    assert [status["state"] for status in server.statuses] == ["success"]


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_limits_and_outages_are_waited_for(forge: GitLab, server: GitLabStub, status: int) -> None:
    server.fail(Answer(status, {"message": "later"}, {"Retry-After": "0"}))

    assert put(forge, "text") == []

    assert server.bodies(7) == [f"{MARK}\ntext"]


@pytest.mark.parametrize("status", [429, 503])
def test_a_limit_beyond_all_patience_is_told(server: GitLabStub, status: int) -> None:
    forge = opened(server, retries=1, patience=0)
    server.fail(*[Answer(status, {"message": "later"}, {"Retry-After": "3600"})] * 30)

    (told,) = put(forge, "text")

    assert str(status) in told
    assert len(server.requests) == 2


@pytest.mark.parametrize("status", [500, 502, 504])
def test_an_outage_is_told(server: GitLabStub, status: int) -> None:
    forge = opened(server, retries=1, patience=0)
    server.fail(*[Answer(status, b"<h1>Whoops</h1>", content_type="text/html")] * 30)

    (told,) = put(forge, "text")

    assert str(status) in told


def test_nobody_there_is_told(server: GitLabStub) -> None:
    from clew.adapters.gitlab import GitLab

    forge = GitLab(PROJECT, TOKEN, "http://127.0.0.1:9", retries=0)

    (told,) = put(forge, "text")

    assert "can't be reached" in told


def test_a_missing_right_is_told(forge: GitLab, server: GitLabStub) -> None:
    server.may_write = False

    with pytest.raises(OutsideError, match="403") as caught:
        forge.comment(7, "text")
    assert "GITLAB_TOKEN" in str(caught.value)
    with pytest.raises(OutsideError, match="403"):
        forge.mark(COMMIT, State.SUCCESS, "", "clew")
    assert len(put(forge, "text")) == 1


def test_a_token_that_is_none_is_told_and_not_shown(server: GitLabStub) -> None:
    forge = opened(server, token="glpat-of-yesterday")

    with pytest.raises(OutsideError, match="401") as caught:
        forge.comments(7)

    assert "glpat-of-yesterday" not in f"{caught.value} {caught.value.__cause__} {forge!r}"


def test_a_merge_request_that_is_not_there_is_told(forge: GitLab, server: GitLabStub) -> None:
    (told,) = show(forge, [8], "digits", MARK)

    assert "404" in told


def test_a_limit_between_pages_is_waited_for(forge: GitLab, server: GitLabStub) -> None:
    for number in range(130):
        server.add(7, f"comment {number}")
    server.fail_at(3, Answer(429, {"message": "later"}, {"Retry-After": "0"}))

    assert len(forge.comments(7)) == 130


def test_what_gitlab_says_is_shown_in_one_short_line(server: GitLabStub) -> None:
    page = b"<html>\n" + b"<p>https://me:secret@example.org/</p>\n" * 1000
    server.fail(*[Answer(500, page, content_type="text/html")] * 2)

    (told,) = put(opened(server, retries=0), "text")

    assert len(told) < 300
    assert "\n" not in told
    assert "secret" not in told


def test_no_token_follows_a_redirect_to_another_host(server: GitLabStub) -> None:
    with GitLabStub() as elsewhere:
        away = elsewhere.url.replace("127.0.0.1", "localhost")
        server.fail(Answer(302, None, {"Location": f"{away}/api/v4/user"}))

        with pytest.raises(OutsideError):
            opened(server).comments(7)

        assert all(TOKEN not in str(request.headers) for request in elsewhere.requests)
