"""The report where reviewers are: on the forge, in the job summary, among the artifacts."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from clew.cli.options import Options
from clew.errors import ClewError, Unverifiable

if TYPE_CHECKING:
    from clew.forge import Forge
    from clew.identity import CommitSha
    from clew.ports import Reporter
    from clew.project import Project
    from clew.report.facts import Report
    from clew.response import Response
    from clew.trigger.model import PullRequest

SUMMARY = "GITHUB_STEP_SUMMARY"
SUFFIXES = {"markdown": "md", "html": "html", "json": "json"}


@dataclass(frozen=True)
class Publisher:
    """Where reports of one command go."""

    project: Project
    options: Options
    reporter: Reporter
    folder: Path | None = None

    def publish(
        self, response: Response, change: PullRequest | None = None, commit: CommitSha | None = None
    ) -> Report | None:
        """Report on what became of a commit; nothing that fails here fails the command.

        `commit` is where dvc.lock came to be, where that is not the response's own.
        """
        try:
            return self._publish(response, change, commit or response.commit)
        except ClewError as error:
            self._miss(f"no report: {error.what}")
            return None

    def _publish(self, response: Response, change: PullRequest | None, commit: CommitSha) -> Report:
        forge = self._forge()
        if change and change.fork is None:
            change = self._known(forge, change)
        changes = [change] if change else self._changes(forge, response.request.branch)
        found = self._report(response, changes, commit)
        self._show(forge, response, changes, commit, found)
        if change and found.evaluation is None and not found.data_only:
            # The run of the branch may have ended, and reported, while this was written.
            again = self._report(response, changes, commit)
            if again.evaluation is not None:
                self._show(forge, response, changes, commit, found := again)
        self._keep(found)
        return found

    def _report(self, response: Response, changes: list[PullRequest], commit: CommitSha) -> Report:
        from clew.cli.report import made_report

        executor = response.request.executor or self.options.executor
        options = replace(self.options, executor=executor)
        base = self._base(changes, commit)
        stranger = any(change.fork is not False for change in changes)
        if not stranger:
            try:
                return made_report(options, base, commit, data_only=False)
            except Unverifiable as error:
                self._miss(error.what)
        return made_report(options, base, commit, data_only=True)

    def _base(self, changes: list[PullRequest], commit: CommitSha) -> CommitSha | None:
        """Return where the head left the branch that it is to be merged into."""
        repository = self.project.repository
        branches = repository.branches() if changes else {}
        tip = branches.get(changes[0].base_branch) if changes else None
        return repository.merge_base(tip, commit) if tip else None

    def _show(
        self,
        forge: Forge | None,
        response: Response,
        changes: list[PullRequest],
        commit: CommitSha,
        found: Report,
    ) -> None:
        from clew.forge import show
        from clew.publish import verdict_of
        from clew.report.markdown import CHARACTERS, markdown

        if forge is None:
            self._miss("no comment, no status: no forge that clew knows, or no token for it")
            return
        body = markdown(found, min(CHARACTERS, forge.characters - 1))
        numbers = [change.number for change in changes]
        for missing in show(forge, numbers, found.pipeline, body):
            self._miss(missing)
        state, words = verdict_of(found, response)
        for marked in dict.fromkeys((response.request.commit, commit)):
            try:
                forge.mark(marked, state, words, f"clew/{found.pipeline}", found.links.ci)
            except ClewError as error:
                self._miss(f"no status on {marked[:12]}: {error.what} {error.fix}".rstrip())

    def _forge(self) -> Forge | None:
        from clew.adapters.forges import open_forge

        try:
            return open_forge(self.project.repository.remote_url(), os.environ)
        except ClewError as error:  # the report goes to the summary all the same
            self._miss(error.what)
            return None

    def _changes(self, forge: Forge | None, branch: str | None) -> list[PullRequest]:
        if forge is None or branch is None:
            return []
        try:
            return forge.pull_requests(branch)
        except ClewError as error:
            self._miss(f"the pull requests of {branch} can't be read: {error.what}")
            return []

    def _known(self, forge: Forge | None, change: PullRequest) -> PullRequest:
        """Return a pull request with what the event left out; untrusted where nobody tells."""
        try:
            return (forge.pull_request(change.number) if forge else None) or change
        except ClewError as error:
            self._miss(f"pull request {change.number} can't be read: {error.what}")
            return change

    def _keep(self, found: Report) -> None:
        """Write the report into the folder of artifacts, and into GitHub's job summary."""
        from clew.cli.report import rendered

        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            for form, suffix in SUFFIXES.items():
                path = self.folder / f"{found.pipeline}-{found.head.commit[:12]}.{suffix}"
                path.write_text(f"{rendered(found, form)}\n", encoding="utf-8")
        if path_of_summary := os.environ.get(SUMMARY):
            with Path(path_of_summary).open("a", encoding="utf-8") as file:
                file.write(f"\n{rendered(found, 'markdown')}\n")

    def _miss(self, what: str) -> None:
        self.reporter.step("report", what)
        if path := os.environ.get(SUMMARY):
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(f"\n    {' '.join(what.split())}\n")
