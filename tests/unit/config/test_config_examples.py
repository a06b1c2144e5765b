"""One file in tests/examples, one test: negative files say what their message must contain."""

from __future__ import annotations

from pathlib import Path

import pytest

from clew.config.load import load
from clew.errors import ConfigError

EXAMPLES = Path(__file__).parents[2] / "examples"
TOP = Path(__file__).parents[3]
EXPECT = "# expect: "


def files(kind: str) -> list[Path]:
    return sorted((EXAMPLES / kind).glob("*.yaml"))


def test_the_folders_are_found() -> None:
    assert len(files("positive")) >= 6
    assert len(files("negative")) >= 25


@pytest.mark.parametrize("path", [TOP / "pipeline.yaml", *files("positive")], ids=lambda p: p.stem)
def test_positive(path: Path) -> None:
    assert load(path.read_bytes(), path.name).name


@pytest.mark.parametrize("path", files("negative"), ids=lambda p: p.stem)
def test_negative(path: Path) -> None:
    lines = path.read_text().splitlines()
    expected = [line.removeprefix(EXPECT) for line in lines if line.startswith(EXPECT)]
    with pytest.raises(ConfigError) as caught:
        load(path.read_bytes(), path.name)
    message = str(caught.value)
    assert expected
    assert [fragment for fragment in expected if fragment not in message] == [], message
    assert all(line.startswith(f"{path.name}:") for line in message.splitlines())
