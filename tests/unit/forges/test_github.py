"""The report's comment and the commit status on GitHub, over HTTP against a small GitHub."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

pytest.importorskip("github", reason="the extra `forges` is not installed")

from clew.adapters.github import GitHub
from clew.errors import OutsideError
from clew.forge import State, marker, show
from clew.identity import CommitSha
from tests.forge.github_stub import BOT, REPOSITORY, TOKEN, GitHubStub, served

SHA = CommitSha("a" * 40)
FIRST = f"{marker('small')}\n## clew: better\n"
SECOND = f"{marker('small')}\n## clew: worse\n"


@pytest.fixture
def stub() -> Iterator[GitHubStub]:
    with served(GitHubStub()) as github:
        github.open_pull(7, "feature", SHA)
        yield github


@pytest.fixture
def forge(stub: GitHubStub) -> GitHub:
    return GitHub(REPOSITORY, TOKEN, stub.url, retries=2, patience=3)


def put(forge: GitHub, body: str) -> list[str]:
    return list(show(forge, [7], "small", body))


def test_one_comment_however_often(stub: GitHubStub, forge: GitHub) -> None:
    assert put(forge, FIRST) == []
    assert put(forge, SECOND) == []
    assert stub.bodies(7) == [SECOND]
    writes = [request for request in stub.requests if not request.startswith("GET")]
    assert put(forge, SECOND) == []
    again = [request for request in stub.requests if not request.startswith("GET")]
    assert again == writes, "what is there already is not written again"


def test_it_is_found_behind_pages_of_others(stub: GitHubStub, forge: GitHub) -> None:
    for number in range(10):
        stub.add(7, f"Comment {number}", "somebody")
    put(forge, FIRST)
    for number in range(10):
        stub.add(7, f"More {number}", "somebody")
    put(forge, SECOND)
    assert len(stub.bodies(7)) == 21
    assert stub.bodies(7)[10] == SECOND


def test_a_marker_pasted_by_somebody_else_is_theirs(stub: GitHubStub, forge: GitHub) -> None:
    stub.add(7, FIRST, "somebody")
    put(forge, SECOND)
    assert stub.bodies(7) == [FIRST, SECOND]


def test_another_pipelines_report_is_another_comment(stub: GitHubStub, forge: GitHub) -> None:
    put(forge, FIRST)
    list(show(forge, [7], "other", f"{marker('other')}\n"))
    assert len(stub.bodies(7)) == 2


def test_two_at_once_end_with_one(stub: GitHubStub, forge: GitHub) -> None:
    other = GitHub(REPOSITORY, TOKEN, stub.url)
    stub.before_write = lambda: other.comment(7, SECOND)
    put(forge, FIRST)
    assert len(stub.bodies(7)) == 1


def test_a_comment_deleted_by_hand_is_made_again(stub: GitHubStub, forge: GitHub) -> None:
    put(forge, FIRST)
    stub.before_write = stub.comments[7].clear
    put(forge, SECOND)
    assert stub.bodies(7) == [SECOND]


def test_a_token_with_a_name_finds_its_own(stub: GitHubStub, forge: GitHub) -> None:
    stub.login, stub.tells_who = "release-person", True
    stub.add(7, FIRST, BOT)
    put(forge, SECOND)
    assert stub.bodies(7) == [FIRST, SECOND]


@pytest.mark.parametrize(
    "fault",
    [
        (403, {"Retry-After": "1"}, {"message": "You have exceeded a secondary rate limit"}),
        (429, {"Retry-After": "1"}, {"message": "Too Many Requests"}),
        (502, {}, {"message": "Server Error"}),
        (503, {}, {"message": "Service Unavailable"}),
    ],
    ids=["403", "429", "502", "503"],
)
def test_limits_and_outages_are_waited_for(
    stub: GitHubStub, forge: GitHub, fault: tuple[int, dict[str, str], dict[str, str]]
) -> None:
    stub.faults = [fault]
    assert put(forge, FIRST) == []
    assert stub.bodies(7) == [FIRST]


def test_but_not_for_an_hour(stub: GitHubStub, forge: GitHub) -> None:
    reset = str(int(time.time()) + 3600)
    message = "API rate limit exceeded for installation"
    headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset}
    stub.faults = [(403, headers, {"message": message})]
    (missing,) = put(forge, FIRST)
    assert "rate limit" in missing


def test_an_outage_is_told_and_no_reason_to_fail(stub: GitHubStub, forge: GitHub) -> None:
    stub.faults = [(500, {}, {"message": "Server Error"})] * 5
    (missing,) = put(forge, FIRST)
    assert missing.startswith("no report on pull request 7")
    gone = GitHub(REPOSITORY, TOKEN, "http://127.0.0.1:9", retries=0)
    (missing,) = put(gone, FIRST)
    assert "can't be reached" in missing


def test_a_right_that_is_missing_is_named(stub: GitHubStub, forge: GitHub) -> None:
    stub.rights = {"read"}
    (missing,) = put(forge, FIRST)
    assert "pull-requests: write" in missing
    with pytest.raises(OutsideError, match="statuses: write"):
        forge.mark(SHA, State.SUCCESS, "gates passed", "clew/small")


def test_no_error_shows_the_token(stub: GitHubStub) -> None:
    stub.rights = set()
    wrong = GitHub(REPOSITORY, "s3cret-token", stub.url, retries=0)
    (missing,) = put(wrong, FIRST)
    assert "s3cret" not in missing
    assert "s3cret" not in repr(wrong)


def test_the_status_is_one_line(stub: GitHubStub, forge: GitHub) -> None:
    forge.mark(SHA, State.FAILURE, "x" * 300, "clew/small")
    (status,) = stub.statuses
    assert (status["state"], status["context"], status["sha"]) == ("failure", "clew/small", SHA)
    assert len(status["description"]) == 140


def test_pull_requests_of_a_branch_are_ours_never_a_forks(stub: GitHubStub, forge: GitHub) -> None:
    stub.open_pull(8, "feature", SHA, fork=True)
    stub.open_pull(9, "other", SHA)
    (found,) = forge.pull_requests("feature")
    assert (found.number, found.base_branch, found.fork) == (7, "main", False)
    theirs = forge.pull_request(8)
    assert theirs is not None
    assert theirs.fork is True
    assert forge.pull_request(404) is None


def test_an_apps_own_token_ends_with_one_comment_too(stub: GitHubStub, forge: GitHub) -> None:
    stub.login = "our-app[bot]"  # which it may not ask for, and learns from what it wrote
    put(forge, FIRST)
    again = GitHub(REPOSITORY, TOKEN, stub.url)
    put(again, SECOND)
    assert stub.bodies(7) == [SECOND]


def test_a_comment_of_a_deleted_account_is_nobodys(stub: GitHubStub, forge: GitHub) -> None:
    stub.add(7, FIRST)["user"] = None
    assert put(forge, SECOND) == []
    assert stub.bodies(7) == [FIRST, SECOND]


def test_a_next_page_elsewhere_is_not_asked_for(stub: GitHubStub, forge: GitHub) -> None:
    link = '<http://elsewhere.invalid/repos/us/it/issues/7/comments?page=2>; rel="next"'
    stub.faults = [(200, {"Link": link}, [{"id": 1, "body": "x", "user": None}])]
    (missing,) = put(forge, FIRST)
    assert "no report" in missing


def test_a_repository_spelt_otherwise_is_the_same(stub: GitHubStub) -> None:
    spelt = GitHub("Us/It", TOKEN, stub.url)
    (found,) = spelt.pull_requests("feature")
    assert found.fork is False
