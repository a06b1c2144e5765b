"""Killed at any point and run again, a run ends where an undisturbed one ends."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.preloaded.server import preload
from tests.system.killing import child, effects, kill_at
from tests.system.small import Small, copied
from tests.system.state import end_state

SHARES = 6  # of all points, so that several processes can test them


@pytest.fixture(scope="module", autouse=True)
def imported() -> None:
    """Import what every child needs before it is forked."""
    preload()


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("share", range(SHARES))
def test_killed_at_every_effect_and_run_again(fresh: Small, tmp_path: Path, share: int) -> None:
    undisturbed = copied(fresh, tmp_path / "undisturbed")
    points = effects(undisturbed)
    wanted = end_state(undisturbed)
    assert len(points) > 40
    for number, point in list(enumerate(points))[share::SHARES]:
        small = copied(fresh, tmp_path / f"{number}")
        assert kill_at(small, number), f"{number} {point} was not reached"
        again = child(small, ["run"], lambda _point: None)
        output = (small.folder / "output").read_text()
        assert again == 0, f"after a kill {point} ({number}):\n{output}"
        assert end_state(small) == wanted, f"after a kill {point} ({number})"
        shutil.rmtree(small.folder)
