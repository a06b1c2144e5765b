"""How progress is shown: a live line on a terminal, timestamped lines elsewhere."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from clew.ports import Reporter


class PlainReporter(Reporter):
    """One timestamped line on standard error for each thing that happens."""

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

    def _write(self, text: str) -> None:
        now = datetime.now(UTC).strftime("%H:%M:%SZ")
        sys.stderr.write(f"{now} {text}\n")
        sys.stderr.flush()


class TerminalReporter(PlainReporter):
    """The same lines without times, above a spinner that shows the present step and its age."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._console = Console(stderr=True, highlight=False)
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        self._progress = Progress(*columns, console=self._console, transient=True)
        self._task = self._progress.add_task("starting")

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

        self._progress.reset(self._task, description=f"{name}: {escape(message)}")
        self._console.print(f"[bold]{name:<9}[/] {escape(message)}")

    def line(self, text: str) -> None:
        from rich.text import Text

        self._console.print(Text(f"          | {text}", style="dim"))


def reporter() -> PlainReporter:
    """Return the reporter that suits where standard error goes."""
    return TerminalReporter() if sys.stderr.isatty() else PlainReporter()
