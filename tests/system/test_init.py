"""The walk of docs/adopt.md, as it is written there, in a folder where nothing was before."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

import pytest

from tests.system.ci.act import ACT, ACTIONS, USES
from tests.system.small import Small

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SOURCE = f"example/clew@{'c' * 40}"


@pytest.mark.skipif(not ACT.exists(), reason="the extra `dev` is not installed")
@pytest.mark.slow
def test_the_walk_of_the_documentation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = BLOCK.findall((ROOT / "docs/adopt.md").read_text())
    assert len(blocks) > 5
    walker = Small(tmp_path, variables={"CLEW_SOURCE": SOURCE})
    stand_in(tmp_path)
    began = time.monotonic()
    walked = subprocess.run(
        ["bash", "-euo", "pipefail"],
        input="".join(blocks),
        cwd=tmp_path,
        env=walker.environment,
        capture_output=True,
        text=True,
    )
    assert walked.returncode == 0, walked.stdout + walked.stderr
    with capsys.disabled():
        print(f"docs/adopt.md took {time.monotonic() - began:.0f} s.")
    assert "PASS" in walked.stdout, "of clew trace"
    numbers = Small(tmp_path / "numbers", variables={"HOME": str(tmp_path / "home")})
    models = [
        numbers.clew("trace", f"models:/numbers/{n}", cwd=tmp_path / "numbers") for n in (1, 2)
    ]
    assert [model.returncode for model in models] == [0, 0], models
    (report,) = (tmp_path / "reports").glob("*.md")
    assert report.read_text() in walked.stdout, "of the pull request"
    assert "clew: gates passed" in report.read_text()
    assert "only the data changed" in report.read_text()
    kept = {path.suffix for path in (tmp_path / "artifacts/clew-report").iterdir()}
    assert kept == {".html", ".json", ".md"}
    assert walked.stdout.endswith("all is as this version writes it\n"), "of clew init --check"
    tags = numbers.git("tag", "--list", "data/numbers/*", cwd=tmp_path / "numbers.git")
    assert len(tags.splitlines()) == 2


def stand_in(folder: Path) -> None:
    """Give act what it would get from GitHub, by its own configuration file.

    But for the checkout, which the walk does without.
    """
    workflows = "".join(p.read_text() for p in (ROOT / ".github/workflows").glob("*.yml"))
    found = {(use["action"], use["ref"]) for use in USES.finditer(workflows)}
    places = [(f"{a}@{ref}", ACTIONS / a.partition("/")[2]) for a, ref in sorted(found)]
    tool = folder / "tool/.github/actions"
    tool.mkdir(parents=True)
    (tool / "clew").symlink_to(ACTIONS / "clew")
    options = [
        f"--local-repository={action}={at}" for action, at in places if at.name != "checkout"
    ]
    options += [f"--local-repository={SOURCE}={folder / 'tool'}", "--action-offline-mode"]
    options += [f"--env=ARTIFACTS={folder / 'artifacts'}"]
    (folder / "home").mkdir()
    (folder / "home/.actrc").write_text("\n".join(options))
