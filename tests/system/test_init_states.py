"""What clew init writes, leaves, asks and refuses in a repository that is somebody else's."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.preloaded import command
from tests.system.adopting import SINGLE, SOURCE, adopting, init, pipeline, states
from tests.system.small import Small

CLEW, REPORT = ".github/workflows/clew.yml", ".github/workflows/report.yml"
GITHUB = ("--forge", "github")


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return adopting(tmp_path_factory.mktemp("single"), SINGLE, "data").folder


@pytest.fixture
def there(single: Path, tmp_path: Path) -> Small:
    shutil.copytree(single, tmp_path / "copy", symlinks=True)
    return Small(tmp_path / "copy")


def content(there: Small) -> dict[str, bytes]:
    files = (path for path in there.work.rglob("*") if path.is_file())
    kept = (path for path in files if ".git" not in path.relative_to(there.work).parts)
    return {str(path): path.read_bytes() for path in kept if "tmp" not in path.parts}


def test_a_dry_run_shows_all_and_changes_nothing(there: Small) -> None:
    before = content(there)
    done = init(there, "--yes", "--dry-run", *GITHUB)
    assert done.returncode == 0, done.stderr
    for wanted in ("+++ b/pipeline.yaml", f"+++ b/{CLEW}", "+    verify = true"):
        assert wanted in done.stdout
    assert content(there) == before


def test_check_tells_each_state_and_init_brings_it_up_to_date(there: Small) -> None:
    assert set(states(there, *GITHUB).values()) == {"missing", "setting"}
    assert init(there, "--yes", *GITHUB).returncode == 0
    assert init(there, "--check", *GITHUB).returncode == 0
    again = init(there, "--yes", *GITHUB)
    assert (again.returncode, "nothing to do" in again.stdout) == (0, True)
    newer = ("--source", f"example/clew@{'d' * 40}", *GITHUB)
    assert states(there, *newer)[CLEW] == "older"
    assert init(there, "--yes", *newer).returncode == 0
    assert f"@{'d' * 40}" in (there.work / CLEW).read_text()
    assert "older" not in states(there, *newer).values()


def test_what_was_edited_by_hand_is_left_unless_forced(there: Small) -> None:
    assert init(there, "--yes", *GITHUB).returncode == 0
    there.edit(CLEW, "350", "60")
    (there.work / REPORT).unlink()
    checked = init(there, "--check", *GITHUB)
    assert checked.returncode == 1
    assert "-    timeout-minutes: 60" in checked.stdout
    done = init(there, "--yes", *GITHUB)
    assert done.returncode == 1
    assert CLEW in done.stderr
    assert "timeout-minutes: 60" in (there.work / CLEW).read_text()
    assert (there.work / REPORT).exists(), "what is missing is written all the same"
    assert init(there, "--yes", "--force", *GITHUB).returncode == 0
    assert "timeout-minutes: 350" in (there.work / CLEW).read_text()


def test_a_file_that_was_never_clews_is_shown_and_asked_about(there: Small) -> None:
    (there.work / ".gitlab-ci.yml").write_text("mine: {script: [make]}\n")
    gitlab = ("--forge", "gitlab", "--name", "mine")
    refused = answered(there, "y\nn\n", *gitlab)
    assert refused.returncode == 1, refused.stderr
    assert "-mine: {script: [make]}" in refused.stdout
    assert (there.work / ".gitlab-ci.yml").read_text().startswith("mine")
    agreed = answered(there, "y\n", *gitlab)
    assert agreed.returncode == 0, agreed.stderr
    assert "clew ci" in (there.work / ".gitlab-ci.yml").read_text()


def answered(there: Small, answers: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("clew", ["init", "--source", SOURCE, *arguments], there.environment),
        cwd=there.work,
        env=there.environment,
        input=answers,
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_asks_little_and_takes_the_answers(there: Small) -> None:
    done = answered(there, "all\nmy-points\ny\n")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("]: ") <= 6
    assert pipeline(there)["name"] == "my-points"
    assert (there.work / ".gitlab-ci.yml").exists()
    assert (there.work / "buildspec.yml").exists()


def test_a_pipeline_that_is_there_is_kept(there: Small) -> None:
    assert init(there, "--yes", *GITHUB).returncode == 0
    there.edit("pipeline.yaml", "use: local", "use: local  # mine")
    assert states(there, *GITHUB)["pipeline.yaml"] == "kept"
    assert init(there, "--yes", "--force", *GITHUB).returncode == 0
    assert "# mine" in (there.work / "pipeline.yaml").read_text()
    there.edit("pipeline.yaml", "executor:", "executer:")
    broken = init(there, "--yes", *GITHUB)
    assert broken.returncode == 2
    assert "did you mean 'executor'" in broken.stderr


def test_the_forge_is_told_by_the_git_remote(there: Small) -> None:
    for url, wanted in (
        ("git@github.com:us/numbers.git", CLEW),
        ("https://gitlab.example.org/us/numbers.git", ".gitlab-ci.yml"),
        ("codecommit::eu-west-1://numbers", "buildspec.yml"),
    ):
        there.git("remote", "set-url", "origin", url)
        there.git("update-ref", "refs/remotes/origin/trunk", "HEAD")
        there.git("symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/trunk")
        done = init(there, "--yes", "--dry-run", "--json")
        assert done.returncode == 0, done.stderr
        rows = json.loads(done.stdout)["files"]
        assert wanted in [row["path"] for row in rows]
        assert any("+name: numbers" in row["diff"] for row in rows)


def test_without_a_source_nothing_is_guessed(there: Small) -> None:
    done = there.clew("init", "--yes", *GITHUB)
    assert done.returncode == 2
    assert "--source OWNER/REPO@SHA" in done.stderr
    assert not (there.work / "pipeline.yaml").exists()


REFUSALS = {
    "no git": ("rm -rf .git", "no Git repository"),
    "no dvc": ("rm -rf .dvc dvc.yaml", "not in a DVC repository"),
    "no dvc.yaml": ("rm dvc.yaml", "there is no dvc.yaml"),
    "dvc.yaml below": ("mkdir sub && git mv dvc.yaml sub/", "--pipeline sub/pipeline.yaml"),
    "no stages": ("echo 'stages: {}' > dvc.yaml", "no stages"),
    "broken": ("echo 'stages: [' > dvc.yaml", "DVC can't read this repository"),
    "no commit": ("git update-ref -d HEAD", "no commit yet"),
    "no remote": ("dvc remote remove storage", "DVC has no remote"),
    "own remote": ("mv .dvc/config .dvc/config.local", "not in .dvc/config"),
    "no metrics": ("sed -i '/metrics/d' dvc.yaml", "no stage of dvc.yaml has `metrics`"),
    "no data": ("sed -i 's/deps: .*/deps: [train.py]/' dvc.yaml", "no data that DVC tracks"),
    "no script": ("git rm -q train.py", "has no train.py"),
    "link out": ("ln -s /tmp .github", "leads out of the repository"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_clew_cant_work_with_is_refused_and_nothing_written(there: Small, case: str) -> None:
    command, said = REFUSALS[case]
    subprocess.run(command, shell=True, cwd=there.work, env=there.environment, check=True)
    before = content(there)
    done = init(there, "--yes", *GITHUB)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert "bug" not in done.stderr
    assert content(there) == before


def test_a_bare_repository_is_refused(there: Small) -> None:
    done = there.clew("init", "--yes", cwd=there.origin)
    assert done.returncode == 2
    assert "bare" in done.stderr


def test_a_folder_that_cant_be_written_leaves_nothing_behind(there: Small) -> None:
    (there.work / ".github").write_text("a file\n")
    before = content(there)
    done = init(there, "--yes", *GITHUB)
    assert done.returncode in (2, 4), done.stderr
    assert content(there) == before
    assert "bug" not in done.stderr
