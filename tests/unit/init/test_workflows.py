"""What is written for a forge is this repository's own, but for where clew comes from."""

from __future__ import annotations

import difflib
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from clew.errors import ConfigError
from clew.init.source import Source
from clew.init.workflows import Adoption, is_unmodified, pipeline_of, render, source_in, template

ROOT = Path(__file__).parents[3]
SHA = "0123456789abcdef0123456789abcdef01234567"
SOURCE = Source("https://github.com/owner/tool", SHA)
ADOPTION = Adoption("all", SOURCE, name="churn")
OWN = {
    "clew.yml": ".github/workflows/clew.yml",
    "report.yml": ".github/workflows/report.yml",
    "gitlab-ci.yml": ".gitlab-ci.yml",
    "buildspec.yml": "buildspec.yml",
}
EXTRAS = "forges,sagemaker,mlflow-app"
PROGRAMS = Path(sys.executable).parent


def changes(old: str, new: str) -> tuple[list[str], list[str]]:
    rows = list(difflib.ndiff(old.splitlines(), new.splitlines()))
    return [r[2:].strip() for r in rows if r[0] == "-"], [
        r[2:].strip() for r in rows if r[0] == "+"
    ]


@pytest.mark.parametrize("name", OWN)
def test_templates_are_this_repositorys_own_files(name: str) -> None:
    assert template(name) == (ROOT / OWN[name]).read_text()


@pytest.mark.parametrize("name", ["clew.yml", "report.yml"])
def test_a_workflow_differs_in_the_line_that_installs_clew(name: str) -> None:
    written = render(ADOPTION)[OWN[name]]
    left, came = changes(template(name), written)
    assert [line.partition(" #")[0] for line in left] == ["uses: ./.github/actions/clew"]
    assert len(came) == 2
    assert came[0].startswith(f"uses: owner/tool/.github/actions/clew@{SHA}")
    assert came[1].startswith("# clew init ")


def test_gitlab_and_codebuild_differ_in_how_clew_is_installed_and_called() -> None:
    written = render(ADOPTION)
    own, adopted = (
        yaml.safe_load(text)["clew"]["script"]
        for text in (template("gitlab-ci.yml"), written[".gitlab-ci.yml"])
    )
    requirement = f"clew[{EXTRAS}] @ git+{SOURCE.url}@{SHA}"
    install = f'.venv/bin/uv pip install --quiet "{requirement}"'
    assert [(a, b) for a, b in zip(own, adopted, strict=True) if a != b] == [
        (install.replace(f"git+{SOURCE.url}@{SHA}", "$CLEW_SOURCE"), install)
    ]
    phases = yaml.safe_load(written["buildspec.yml"])["phases"]
    assert phases["install"]["commands"] == adopted[:3]
    assert phases["build"]["commands"] == [".venv/bin/clew ci --reports clew-reports"]


def test_every_system_has_what_reports_and_jobs_on_aws_need() -> None:
    """CodeBuild's webhooks come from GitHub and GitLab: it comments by the same clients."""
    action = yaml.safe_load((ROOT / ".github/actions/clew/action.yml").read_text())
    assert action["inputs"]["extras"]["default"].split() == EXTRAS.split(",")
    (sync,) = [line for line in template("buildspec.yml").splitlines() if "uv sync" in line]
    assert re.findall(r"--extra (\S+)", sync) == EXTRAS.split(",")
    assert f'"clew[{EXTRAS}] @ $CLEW_SOURCE"' in template("gitlab-ci.yml")


@pytest.mark.parametrize("pipeline", ["pipeline.yaml", "models/churn/pipeline.yaml"])
@pytest.mark.parametrize("requirements", [None, "requirements.txt"])
def test_what_is_written_passes_the_checkers(
    tmp_path: Path, pipeline: str, requirements: str | None
) -> None:
    written = render(replace(ADOPTION, pipeline=pipeline, requirements=requirements))
    folder = tmp_path / ".github/workflows"
    folder.mkdir(parents=True)
    for path, text in written.items():
        (tmp_path / path).write_text(text)
        assert f"--pipeline {pipeline}" in text or pipeline == "pipeline.yaml"
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)  # actionlint asks for it
    check("actionlint", "-shellcheck=", cwd=tmp_path)
    check("zizmor", "--offline", "--quiet", "--persona", "pedantic", ".github", cwd=tmp_path)
    builtin = "--builtin-schema"
    check("check-jsonschema", builtin, "vendor.gitlab-ci", ".gitlab-ci.yml", cwd=tmp_path)
    files = [str(path) for path in folder.iterdir()]
    check("check-jsonschema", builtin, "vendor.github-workflows", *files, cwd=tmp_path)


def check(program: str, *arguments: str, cwd: Path) -> None:
    if not (PROGRAMS / program).exists():
        pytest.skip("the extra `dev` is not installed")
    done = subprocess.run(
        [PROGRAMS / program, *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_file_of_ours_tells_its_source_its_pipeline_and_edits() -> None:
    nested = replace(ADOPTION, pipeline="models/churn/pipeline.yaml")
    for text in render(nested).values():
        assert is_unmodified(text)
        assert source_in(text) == SOURCE
        assert pipeline_of(text) == "models/churn/pipeline.yaml"
        assert not is_unmodified(text.replace("clew ci", "clew run", 1))
        assert not is_unmodified(text + "# mine\n")
    assert not is_unmodified(template("clew.yml"))


def test_github_takes_actions_from_github_alone() -> None:
    with pytest.raises(ConfigError, match="from GitHub alone"):
        render(replace(ADOPTION, source=Source("https://git.example.org/tool", SHA)))


@pytest.mark.parametrize(
    "path", ["a b/pipeline.yaml", "$(id)/pipeline.yaml", "-x/p.yaml", "ü/p.yaml"]
)
def test_a_path_that_a_shell_would_read_otherwise_is_refused(path: str) -> None:
    with pytest.raises(ConfigError, match="can't name the path"):
        render(replace(ADOPTION, pipeline=path))
