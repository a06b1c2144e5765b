"""How progress is shown: a live line on a terminal, timestamped lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import click

from clew.ports import Reporter

PROGRESS_SECONDS = 10.0  # between two lines of progress where they stay


class PlainReporter(Reporter):
    """One timestamped line on standard error for each thing that happens."""

    def __init__(self) -> None:
        self._transfer = ("", 0)
        self._due = 0.0
        self._told = -1  # the count that was shown last

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def step(self, name: str, message: str) -> None:
        self._write(f"{name:<9} {message}")

    def line(self, text: str) -> None:
        self._write(f"{'':<9} | {text}")

    def progress(self, verb: str, done: int, total: int, what: str = "files") -> None:
        now = time.monotonic()
        if (verb, total) != self._transfer:
            self._transfer, self._due, self._told = (verb, total), now + 1, -1
        due = now >= self._due or (self._told >= 0 and done == total)
        if due and done != self._told:
            self._due, self._told = now + PROGRESS_SECONDS, done
            self._write(f"{'':<9} {verb} {done:,} of {total:,} {what}")

    def confirm(self, question: str) -> bool:
        """Ask, where there is somebody to ask; whoever leaves without an answer says no."""
        # Not sys.stderr: a live display puts something in its place that is no terminal.
        if not (sys.stdin.isatty() and sys.__stderr__ and sys.__stderr__.isatty()):
            return False
        try:
            return click.confirm(question, default=False, err=True)
        except click.Abort:
            return False

    def _write(self, text: str) -> None:
        now = datetime.now(UTC).strftime("%H:%M:%SZ")
        sys.stderr.write(f"{now} {text}\n")
        sys.stderr.flush()


class TerminalReporter(PlainReporter):
    """The same lines without times, above a bar that shows the present step and its age."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        super().__init__()
        self._console = Console(stderr=True, highlight=False)
        self._progress = Progress(
            BarColumn(24),  # pulses while there is nothing to count
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
        )
        self._step = self._progress.add_task("starting", total=None)
        self._counted = self._progress.add_task("", visible=False)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def step(self, name: str, message: str) -> None:
        from rich.markup import escape

        shown = f"[bold]{name:<9}[/] {escape(message)}"
        self._progress.reset(self._step, description=shown)
        self._progress.update(self._counted, visible=False)
        self._console.print(shown, soft_wrap=True)

    def line(self, text: str) -> None:
        from rich.text import Text

        self._progress.update(self._counted, visible=False)
        self._console.print(Text(f"          | {text}", style="dim"), soft_wrap=True)

    def progress(self, verb: str, done: int, total: int, what: str = "files") -> None:
        words = f"{verb} {done:,} of {total:,} {what}"
        if not self._progress.tasks[self._counted].visible:
            self._progress.reset(self._counted, total=total)
        shown = done < total
        self._progress.update(self._counted, completed=done, description=words, visible=shown)

    def confirm(self, question: str) -> bool:
        self._progress.stop()  # it would write over the question
        try:
            return super().confirm(question)
        finally:
            self._progress.start()


def reporter() -> PlainReporter:
    """Return the reporter that suits where standard error goes; some CI systems show a terminal."""
    live = sys.stderr.isatty() and not os.environ.get("CI")
    return TerminalReporter() if live else PlainReporter()
