"""The report where reviewers are: on the forge, in the job summary, among the artifacts."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from clew.cli.options import Options
from clew.errors import ClewError, ConfigError, Unverifiable

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
class Subject:
    """What a report is on, and which commits get its verdict."""

    response: Response
    commit: CommitSha
    marked: tuple[CommitSha, ...]


@dataclass(frozen=True)
class Publisher:
    """Where reports of one command go."""

    project: Project
    options: Options
    reporter: Reporter
    folder: Path | None = None

    def publish(
        self,
        response: Response,
        change: PullRequest | None = None,
        before: CommitSha | None = None,
    ) -> Report | None:
        """Report on what became of a commit; nothing that fails here fails the command.

        `before` is where the branch was before it came to the commit.
        """
        try:
            if self._is_tryout(response):
                return self._kept_off_the_forge(response)
            return self._publish(response, change, before)
        except ClewError as error:
            self._miss(f"no report: {error.what}")
            return None

    def _publish(
        self, response: Response, change: PullRequest | None, before: CommitSha | None
    ) -> Report:
        from clew.changes import is_overtaken

        forge = self._forge()
        branch = response.request.branch
        changes = [self._known(forge, change)] if change else self._changes(forge, branch)
        head = self._head(changes)
        subject = self._subject(response, head)
        overtaken = is_overtaken(self.project.repository, subject.commit, head)
        found = self._tell(forge, subject, changes, before, comment=not overtaken)
        if head and overtaken:
            self._miss(f"no comment on what is past: {branch} is at {head[:12]} by now")
            self._show_head(forge, subject, changes, head)
        elif change and found.evaluation is None and not found.data_only:
            # The run of the branch may have ended, and reported, while this was written.
            again = self._report(subject, changes, before)
            if again.evaluation is not None:
                found = self._tell(forge, subject, changes, before)
        self._keep(found)
        return found

    def _is_tryout(self, response: Response) -> bool:
        """Tell whether somebody asked for another training than the commit's own."""
        from clew.cli.wiring import load_pipeline

        request = response.request
        if request.params or not request.executor:
            return bool(request.params)
        options = replace(self.options, executor=None)
        with suppress(ConfigError):
            return load_pipeline(self.project, options, request.commit).executor.use != (
                request.executor
            )
        return False

    def _kept_off_the_forge(self, response: Response) -> Report:
        """Report where nobody takes it for the commit's own verdict."""
        self._miss("no comment, no status: this is another training than the commit's own")
        found = self._report(Subject(response, response.commit, ()), [], None)
        self._keep(found)
        return found

    def _head(self, changes: list[PullRequest]) -> CommitSha | None:
        """Return where the branch of pull requests is now, None where nobody knows."""
        for change in changes:
            ours = self.project.repository.branches() if change.fork is False else {}
            return ours.get(change.head_branch) or change.head
        return None

    def _subject(self, response: Response, head: CommitSha | None) -> Subject:
        """Return what to report on: with the dvc.lock that clew has put on top meanwhile."""
        from clew.changes import made_for

        commit = response.commit
        if head and made_for(self.project.repository, head) == response.request.commit:
            commit = head
        return Subject(response, commit, (response.request.commit, commit))

    def _show_head(
        self, forge: Forge | None, past: Subject, changes: list[PullRequest], head: CommitSha
    ) -> None:
        """Report on a dvc.lock that clew put on somebody's newer commit: nothing else does."""
        from clew.changes import made_for

        if made_for(self.project.repository, head) == head:
            return
        request = replace(past.response.request, commit=head)
        subject = Subject(replace(past.response, request=request), head, (head,))
        self._tell(forge, subject, changes, None)

    def _tell(
        self,
        forge: Forge | None,
        subject: Subject,
        changes: list[PullRequest],
        before: CommitSha | None,
        *,
        comment: bool = True,
    ) -> Report:
        """Report to each pull request against its own base; the first one's is the commit's."""
        first, *others = _by_base(changes)
        found = self._report(subject, first, before)
        if forge is None:
            self._miss("no comment, no status: no forge that clew knows, or no token for it")
            return found
        if comment:
            self._comment(forge, first, found)
            for group in others:
                self._comment(forge, group, self._report(subject, group, before))
        self._mark(forge, subject, found, fork=any(change.fork for change in changes))
        return found

    def _report(
        self, subject: Subject, changes: list[PullRequest], before: CommitSha | None
    ) -> Report:
        from clew.cli.report import made_report
        from clew.cli.wiring import load_pipeline, refuse_throwaway

        commit = subject.commit
        executor = subject.response.request.executor or self.options.executor
        options = replace(self.options, executor=executor)
        base, unread = self._base(changes, commit), ""
        if all(change.fork is False for change in changes):
            try:
                refuse_throwaway(load_pipeline(self.project, options, commit))
                return made_report(options, base, commit, data_only=False, before=before)
            except (ConfigError, Unverifiable) as error:
                self._miss(unread := error.what)
        found = made_report(options, base, commit, data_only=True, before=before)
        return replace(found, unread=unread)

    def _base(self, changes: list[PullRequest], commit: CommitSha) -> CommitSha | None:
        """Return where the head left the branch that it is to be merged into."""
        repository = self.project.repository
        branches = repository.branches() if changes else {}
        tip = branches.get(changes[0].base_branch) if changes else None
        return repository.merge_base(tip, commit) if tip else None

    def _comment(self, forge: Forge, changes: list[PullRequest], found: Report) -> None:
        from clew.forge import show
        from clew.report.markdown import CHARACTERS, markdown

        body = markdown(found, min(CHARACTERS, forge.characters - 1))
        fork = any(change.fork for change in changes)
        numbers = [change.number for change in changes]
        for missing in show(forge, numbers, found.pipeline, body, fork=fork):
            self._miss(missing)

    def _mark(self, forge: Forge, subject: Subject, found: Report, *, fork: bool) -> None:
        from clew.forge import advice
        from clew.publish import verdict_of

        state, words = verdict_of(found, subject.response)
        for marked in dict.fromkeys(subject.marked):
            try:
                forge.mark(marked, state, words, f"clew/{found.pipeline}", found.links.ci)
            except ClewError as error:
                self._miss(f"no status on {marked[:12]}: {advice(error, fork=fork)}")

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
        """Return a pull request with what the event left out; untrusted where nobody tells.

        Git tells where our own branches are; where a fork's is, the forge alone knows.
        """
        if change.fork is False or forge is None:
            return change
        try:
            found = forge.pull_request(change.number)
        except ClewError as error:
            self._miss(f"pull request {change.number} can't be read: {error.what}")
            return change
        return replace(found, fork=change.fork or found.fork) if found else change

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


def _by_base(changes: list[PullRequest]) -> list[list[PullRequest]]:
    """Return pull requests in groups of one base; one empty group where there are none."""
    groups: dict[str | None, list[PullRequest]] = {}
    for change in changes:
        groups.setdefault(change.base_branch, []).append(change)
    return list(groups.values()) or [[]]
