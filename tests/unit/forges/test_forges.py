"""Which forge a repository is on, and that a token goes nowhere else."""

from __future__ import annotations

import re
import sys
from urllib.parse import urlsplit

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from clew.adapters.forges import Place, open_forge, place_of
from clew.errors import ConfigError

TOKEN = "a-secret-token"
TOKENS = {"GITHUB_TOKEN": TOKEN, "GITLAB_TOKEN": TOKEN}
ACTIONS = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_API_URL": "https://forge.example.org/api/v3",
    "GITHUB_REPOSITORY": "owner/project",
}
GITLAB_CI = {
    "GITLAB_CI": "true",
    "CI_SERVER_URL": "https://forge.example.org/gitlab",
    "CI_PROJECT_PATH": "group/sub/project",
}
HOSTS = {
    "github": ("github.com", "ssh.github.com"),
    "gitlab": ("gitlab.com", "altssh.gitlab.com"),
    "codecommit": ("git-codecommit.eu-west-1.amazonaws.com",),
}

github = Place("github", "https://api.github.com", "owner/project", TOKEN)
gitlab = Place("gitlab", "https://gitlab.com", "group/sub/project", TOKEN)
codecommit = Place("codecommit", "eu-west-1", "project")


@pytest.mark.parametrize(
    ("remote", "place"),
    [
        ("https://github.com/owner/project", github),
        ("https://github.com/owner/project.git", github),
        ("https://github.com/owner/project/", github),
        ("https://GitHub.com/owner/project.git", github),
        ("https://x-access-token:secret@github.com/owner/project.git", github),
        ("ssh://git@github.com/owner/project.git", github),
        ("ssh://git@ssh.github.com:443/owner/project.git", github),
        ("git@github.com:owner/project.git", github),
        ("git@github.com:/owner/project.git", github),
        (
            "git@github.com:1234/project.git",
            Place("github", "https://api.github.com", "1234/project", TOKEN),
        ),
        ("https://gitlab.com/group/sub/project.git", gitlab),
        ("ssh://git@altssh.gitlab.com:443/group/sub/project.git", gitlab),
        ("git@gitlab.com:group/sub/project.git", gitlab),
        (
            "git@gitlab.com:12/sub/project.git",
            Place("gitlab", "https://gitlab.com", "12/sub/project", TOKEN),
        ),
        ("https://git-codecommit.eu-west-1.amazonaws.com/v1/repos/project", codecommit),
        ("ssh://APKA123@git-codecommit.eu-west-1.amazonaws.com/v1/repos/project", codecommit),
        ("https://git-codecommit-fips.eu-west-1.amazonaws.com/v1/repos/project", codecommit),
        (
            "https://git-codecommit.cn-north-1.amazonaws.com.cn/v1/repos/project",
            Place("codecommit", "cn-north-1", "project"),
        ),
        ("codecommit::eu-west-1://project", codecommit),
        ("codecommit::eu-west-1://profile@project", codecommit),
    ],
)
def test_the_remote_names_the_forge(remote: str, place: Place) -> None:
    assert place_of(remote, TOKENS) == place


@pytest.mark.parametrize(
    "remote",
    [
        None,
        "",
        "/srv/git/github.com/owner/project.git",
        "file:///srv/git/project.git",
        "https://evil.example/owner/project.git",
        "https://github.com.evil.example/owner/project.git",
        "https://evilgithub.com/owner/project.git",
        "https://github.com@evil.example/owner/project.git",
        "https://github.com:x@evil.example/owner/project.git",
        "https://evil.example/https://github.com/owner/project.git",
        "https://evil.example#@github.com/owner/project.git",
        "https://evil.example?@github.com/owner/project.git",
        "https://evil.example\\@github.com/owner/project.git",
        "https://evil.example/git-codecommit.eu-west-1.amazonaws.com/v1/repos/project",
        "https://git-codecommit.evil.example/v1/repos/project",
        "https://git-codecommit.eu-west-1.amazonaws.com.evil.example/v1/repos/project",
        "codecommit::evil.example/://project",
        "https://github.com/owner",
        "https://github.com/owner/project/tree/main",
        "https://github.com/../../user",
        "https://github.com/owner/..",
        "https://github.com/owner/project\nhttps://evil.example",
        "https://github.com/owner/project?x=1",
        "https://gitlab.com/project",
        "https://gitlab.com/../user",
        "git@evil.example:github.com/owner/project.git",
        "https://github。com/owner/project.git",
    ],
)
def test_a_remote_elsewhere_is_no_forge(remote: str | None) -> None:
    assert open_forge(remote, TOKENS) is None


@pytest.mark.parametrize("remote", ["/srv/git/project.git", "https://forge.example.org/o/p.git"])
def test_the_ci_system_names_its_own_server(remote: str) -> None:
    at_github = Place("github", ACTIONS["GITHUB_API_URL"], "owner/project", TOKEN)
    at_gitlab = Place("gitlab", GITLAB_CI["CI_SERVER_URL"], "group/sub/project", TOKEN)

    assert place_of(remote, TOKENS | ACTIONS) == at_github
    assert place_of(remote, TOKENS | GITLAB_CI) == at_gitlab


@pytest.mark.parametrize(
    ("remote", "variables", "place"),
    [
        ("https://github.com/owner/project", ACTIONS, github),
        ("https://gitlab.com/group/sub/project", GITLAB_CI, gitlab),
        ("https://forge.example.org/owner/project", ACTIONS | GITLAB_CI, None),
    ],
)
def test_a_server_that_no_ci_system_names_gets_no_token(
    remote: str, variables: dict[str, str], place: Place | None
) -> None:
    """Somebody's shell may have the variables; the CI system's own flag is what counts."""
    outside = variables | {"GITHUB_ACTIONS": "false", "GITLAB_CI": ""}

    assert place_of(remote, TOKENS | outside) == place


def test_each_forge_has_a_token_of_its_own() -> None:
    assert place_of("https://gitlab.com/group/project", {"GITHUB_TOKEN": TOKEN}) is None
    assert place_of("https://github.com/owner/project", {"GITLAB_TOKEN": TOKEN}) is None
    assert place_of("https://github.com/owner/project", {"GH_TOKEN": TOKEN}) == github


@pytest.mark.parametrize("token", ["", " ", "\n"])
@pytest.mark.parametrize("variables", [{}, ACTIONS, GITLAB_CI])
def test_without_a_token_there_is_no_forge(token: str, variables: dict[str, str]) -> None:
    for remote in ("https://github.com/owner/project", "https://gitlab.com/group/project"):
        assert open_forge(remote, variables) is None
        assert open_forge(remote, variables | dict.fromkeys(TOKENS, token)) is None


def test_blanks_around_a_token_are_no_part_of_it() -> None:
    found = place_of("https://github.com/owner/project", {"GITHUB_TOKEN": f"{TOKEN}\n"})

    assert found == github


@pytest.mark.parametrize("token", [f"{TOKEN}\nX-Header: 1", f"{TOKEN} x", f"{TOKEN}é"])
@pytest.mark.parametrize(
    ("remote", "name"),
    [
        ("https://github.com/owner/project", "GITHUB_TOKEN"),
        ("https://gitlab.com/group/project", "GITLAB_TOKEN"),
    ],
)
def test_what_is_no_token_is_refused_and_not_shown(remote: str, name: str, token: str) -> None:
    with pytest.raises(ConfigError, match=name) as caught:
        open_forge(remote, {name: token})

    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize(
    ("remote", "package"),
    [
        ("https://github.com/owner/project", "github"),
        ("https://gitlab.com/group/project", "gitlab"),
    ],
)
def test_a_token_is_in_no_representation(remote: str, package: str) -> None:
    pytest.importorskip(package)

    forge = open_forge(remote, TOKENS)

    assert forge is not None
    assert forge.name == package
    assert TOKEN not in f"{forge!r} {forge} {place_of(remote, TOKENS)!r}"


@pytest.mark.parametrize(
    ("remote", "package"),
    [
        ("https://github.com/owner/project", "github"),
        ("https://gitlab.com/group/project", "gitlab"),
    ],
)
def test_a_package_that_is_missing_is_told(
    remote: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)

    with pytest.raises(ConfigError, match=r"(?s)missing.*clew\[forges\]"):
        open_forge(remote, TOKENS)


def test_codecommit_without_a_region_in_the_remote() -> None:
    """See git-remote-codecommit: the region is then the one of the environment."""
    assert place_of("codecommit://project", {}) is None
    assert place_of("codecommit://project", {"AWS_REGION": "eu-west-1"}) == codecommit
    assert place_of("codecommit://me@project", {"AWS_DEFAULT_REGION": "eu-west-1"}) == codecommit


valid = st.sampled_from(
    [
        "https://github.com/owner/project.git",
        "ssh://git@gitlab.com:22/group/project.git",
        "git@github.com:owner/project.git",
        "https://git-codecommit.eu-west-1.amazonaws.com/v1/repos/project",
    ]
)
piece = st.one_of(
    st.sampled_from(
        [
            "evil.example",
            "evil.example#@",
            "evil.example?@",
            "evil.example\\@",
            "github.com",
            "https://",
            "../",
            "443",
            ".git",
        ]
    ),
    st.sampled_from(list("@:/\\?#%.&; \n\t\0[]")),
    st.text(max_size=2),
)


@st.composite
def hostile(draw: st.DrawFn) -> str:
    """A URL that was good before pieces were put into it."""
    parts = re.split(r"(\W+)", draw(valid))
    for inserted in draw(st.lists(piece, min_size=1, max_size=3)):
        parts.insert(draw(st.integers(0, len(parts))), inserted)
    return "".join(parts)


@settings(max_examples=500)
@given(hostile())
def test_a_hostile_remote_gets_no_token(remote: str) -> None:
    """Whatever is written: a forge is found only where that is the host that Git would ask."""
    place = place_of(remote, TOKENS)

    if place is not None:
        event("found")
        scp = "://" not in remote
        host = remote.partition("@")[2].partition(":")[0] if scp else urlsplit(remote).hostname
        assert host is not None
        if place.forge == "codecommit":
            assert host.lower() in HOSTS[place.forge] or host.lower() == (
                f"git-codecommit.{place.server}.amazonaws.com"
            )
        else:
            assert host.lower() in HOSTS[place.forge]
            assert place.server in ("https://api.github.com", "https://gitlab.com")
        assert ".." not in place.repository.split("/")
