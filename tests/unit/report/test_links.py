"""Links: from configuration and ids of known shapes, or none at all."""

from __future__ import annotations

import pytest

from clew.report.links import Links, links

SHA = "0a" * 20


@pytest.mark.parametrize(
    ("remote", "expected"),
    [
        ("https://github.com/o/r.git", f"https://github.com/o/r/commit/{SHA}"),
        ("git@github.com:o/r.git", f"https://github.com/o/r/commit/{SHA}"),
        ("ssh://git@github.com/o/r", f"https://github.com/o/r/commit/{SHA}"),
        ("ssh://git@gitlab.acme.org:2222/a/b/r", f"https://gitlab.acme.org/a/b/r/-/commit/{SHA}"),
        ("git@gitlab.com:a/b/r.git", f"https://gitlab.com/a/b/r/-/commit/{SHA}"),
        ("/srv/git/r.git", ""),
        ("https://git-codecommit.eu-west-1.amazonaws.com/v1/repos/r", ""),
        ("https://github.com/o/r](javascript:alert(1))", ""),
        ("https://github.com/o/r?x=<b>", ""),
        (None, ""),
    ],
)
def test_the_forge_is_known_by_the_remote(remote: str | None, expected: str) -> None:
    assert links({}, remote, "").commit(SHA) == expected


def test_what_ci_says_comes_first() -> None:
    github = {"GITHUB_SERVER_URL": "https://ghe.acme.org", "GITHUB_REPOSITORY": "o/r"}
    found = links({**github, "GITHUB_RUN_ID": "7"}, "git@github.com:x/y.git", "")
    assert found.commit(SHA) == f"https://ghe.acme.org/o/r/commit/{SHA}"
    assert found.ci == "https://ghe.acme.org/o/r/actions/runs/7"
    gitlab = {"CI_PROJECT_URL": "https://gl.acme.org/o/r", "CI_JOB_URL": "https://gl.acme.org/1"}
    found = links(gitlab, None, "")
    assert found.data_version("data/shoes/0123456789ab") == (
        "https://gl.acme.org/o/r/-/tree/data/shoes/0123456789ab"
    )
    assert found.ci == "https://gl.acme.org/1"


@pytest.mark.parametrize(
    "uri", ["sqlite:///x.db", "arn:aws:sagemaker:eu:1:x", "javascript:alert(1)"]
)
def test_no_web_address_no_link(uri: str) -> None:
    assert links({}, None, uri).run("ab" * 16) == ""


def test_mlflow_pages_and_jobs() -> None:
    found = links({}, None, "https://mlflow.acme.org/")
    assert found.run("ab" * 16) == f"https://mlflow.acme.org/#/runs/{'ab' * 16}"
    assert found.model("shoes", 3) == "https://mlflow.acme.org/#/models/shoes/versions/3"
    arn = "arn:aws:sagemaker:eu-west-1:123456789012:training-job/shoes-1"
    assert found.job(arn) == (
        "https://eu-west-1.console.aws.amazon.com/sagemaker/home?region=eu-west-1#/jobs/shoes-1"
    )


@pytest.mark.parametrize("name", ["", "../x", "a b", "x)", "ab\n", "<b>", "a/b"])
def test_what_has_another_shape_gets_no_link(name: str) -> None:
    found = Links("https://github.com/o/r", mlflow="https://mlflow.acme.org")
    assert not found.commit(name)
    assert not found.data_version(name)
    assert not found.run(name)
    assert not found.model(name, 1)
    assert not found.job(name)
