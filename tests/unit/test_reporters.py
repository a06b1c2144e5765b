"""What people see of progress."""

from __future__ import annotations

import io
import itertools
import os
import re
import sys
from pathlib import Path

import pytest

from clew.cli.reporters import PlainReporter, TerminalReporter
from clew.container.messages import Progress
from clew.jobs import PROGRESS
from tests.terminal import Terminal


def test_plain_lines_have_the_time_and_come_seldom(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = itertools.count(0, 0.1)
    monkeypatch.setattr("time.monotonic", lambda: next(seconds))
    with PlainReporter() as reporter:
        reporter.step("train", "job one")
        for done in range(10):
            reporter.progress("pushed", done, 9)  # over within a second
        for done in range(1, 101):
            reporter.progress("pulled", done * 1000, 100_000)
        for _ in range(300):
            reporter.progress("pulled", 100_000, 100_000)  # all is there and is being sorted
        reporter.line("epoch 1")
    lines = capsys.readouterr().err.splitlines()
    assert all(re.match(r"\d\d:\d\d:\d\dZ ", line) for line in lines)
    assert [line.split(maxsplit=1)[1].strip() for line in lines] == [
        "train     job one",
        "pulled 11,000 of 100,000 files",
        "pulled 100,000 of 100,000 files",
        "| epoch 1",
    ]


def test_a_terminal_shows_a_bar_and_no_markup_of_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = io.StringIO()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    with TerminalReporter() as reporter:
        reporter.step("train", "job [red]one[/red]")
        reporter.progress("pulled", 500, 1000)
        reporter.line("[bold]epoch[/bold] 1")
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.getvalue())
    assert "job [red]one[/red]" in shown
    assert "[bold]epoch[/bold] 1" in shown
    assert "━" in shown


def test_a_job_tells_its_progress_as_it_is_understood(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 0.5, 1.5, 1.6, 3.0, 4.5, 4.6])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    progress = Progress("pushed")
    for done in (10, 20, 30, 31, 500, 2000):  # too soon, said, too soon, too little, said, said
        progress.at(done, 2000)
    lines = capsys.readouterr().out.splitlines()
    found = [match.groupdict() for line in lines if (match := PROGRESS.fullmatch(line))]
    assert [row["done"] for row in found] == ["20", "500", "2000"]
    assert {row["verb"] for row in found} == {"pushed"}


ASKING = """\
from clew.cli.reporters import reporter
with reporter() as shown:
    shown.step("train", "job one")
    print("answer", shown.confirm("Stop the job one too?"))
"""


@pytest.mark.parametrize(
    ("ci", "answer", "means"),
    [("", "y", True), ("1", "y", True), ("", "", False), ("", "^C", False)],
)
def test_a_question_is_asked_below_a_live_display_and_leaving_it_means_no(
    tmp_path: Path, ci: str, answer: str, *, means: bool
) -> None:
    command = [sys.executable, "-c", ASKING]
    terminal = Terminal(command, tmp_path, {**os.environ, "CI": ci, "TERM": "xterm"})
    terminal.until("Stop the job one too? [y/N]:")
    if answer == "^C":
        terminal.interrupt()
    else:
        terminal.type(f"{answer}\n")
    assert terminal.end() == 0, terminal.shown
    assert f"answer {means}" in terminal.shown
