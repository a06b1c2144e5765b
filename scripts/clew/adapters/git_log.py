"""Git: the log as a chain of commits without files, under a ref that is no branch and no tag.

Each commit's message is a line for people and one line of JSON. The remote's log is mirrored under
a ref of its own that only ever moves forward, so a log that was rewritten there does not go unseen.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from clew.adapters.git import FETCH, PUSH_ATTEMPTS, GitRepository, Pushed
from clew.adapters.git_write import NO_OBJECT
from clew.errors import OutsideError, Unverifiable
from clew.identity import CommitSha
from clew.log import KEYS, Draft, Entry, Log

FORMAT = "%H%x00%P%x00%ct%x00%B%x00%x00"
# Deeper than any log, and yet no --unshallow, which would bring the whole history of the code, too.
WHOLE = "--depth=1000000000"
WHO = {
    f"GIT_{role}_{key}": value
    for role in ("AUTHOR", "COMMITTER")
    for key, value in (("NAME", "clew"), ("EMAIL", "clew@localhost"))
}


class GitLog(GitRepository, Log):
    """The log of one pipeline in a repository."""

    def __init__(self, root: Path, pipeline: str) -> None:
        super().__init__(root)
        self._ref = f"refs/clew/log/{pipeline}"
        self._theirs = f"refs/clew/remote-log/{pipeline}"
        self._tags = f"refs/tags/data/{pipeline}/"
        self._tagged: frozenset[str] = frozenset()  # data versions of the remote, as last asked
        self._known_entries: tuple[CommitSha | None, tuple[Entry, ...]] = (None, ())

    def logged(self) -> list[Entry]:
        entries, seen = self._entries(self.head()), self._peeled(self._theirs)
        if seen is not None and seen not in {entry.id for entry in entries}:
            raise Unverifiable(
                f"the log {self._ref} of this clone lacks {seen[:12]}, which the remote's had",
                fix="Any `clew audit` that may ask the Git remote takes it up again.",
            )
        return list(entries)

    def head(self) -> CommitSha | None:
        return self._peeled(self._ref)

    def fetch(self) -> None:
        remote = self._remote()
        if remote is not None:
            self._mirror(remote)
        self._extend([])

    def unlogged(self) -> list[str]:
        rows = self._git.run("for-each-ref", "--format=%(refname)", self._tags).decode()
        known = {entry.facts.get("data_version") for entry in self._entries(self.head())}
        return sorted((self._versions(rows.split()) | self._tagged) - known)

    def append(self, drafts: Sequence[Draft], *, publish: bool) -> None:
        publish = publish and self._remote() is not None
        missing = {draft.key for draft in drafts} - {e.key for e in self._entries(self.head())}
        if not missing and not (publish and self.head() != self._peeled(self._theirs)):
            return
        for _ in range(PUSH_ATTEMPTS):
            if publish:
                self.fetch()
                self._refuse_anew(drafts)
            head = self._extend(drafts)
            if not publish or head == self._peeled(self._theirs) or self._published(head):
                return
        raise OutsideError(
            f"the log {self._ref} of the Git remote moves too fast to be written to",
            fix="Run the same command again.",
        )

    # --- parts -------------------------------------------------------------------------------

    def _mirror(self, remote: str) -> None:
        """Take over what the remote's log has by now, which must go on from what was seen of it."""
        refs = self._refs(remote, self._ref, f"{self._tags}*")
        self._tagged = self._versions(refs)
        there, seen = refs.get(self._ref), self._peeled(self._theirs)
        if there is None and seen is not None:
            raise self._rewritten(remote, "it is gone")
        if there is None:
            return
        if there != seen:
            self._git.run(*FETCH, remote, self._ref)
        if self._is_cut(there):
            self._git.run(*FETCH, WHOLE, remote, self._ref)
        if seen is not None and not self.is_ancestor(seen, there):
            raise self._rewritten(remote, f"{there[:12]} does not continue {seen[:12]}")
        self._git.run("update-ref", self._theirs, there)

    def _versions(self, refs: Iterable[str]) -> frozenset[str]:
        """Return the data versions among some refs."""
        shape = re.compile(f"{re.escape(self._tags)}[0-9a-f]{{12}}")
        return frozenset(ref.removeprefix("refs/tags/") for ref in refs if shape.fullmatch(ref))

    def _refuse_anew(self, drafts: Sequence[Draft]) -> None:
        """Refuse to begin a log where data versions show that there was one."""
        if self._peeled(self._theirs) is not None:
            return
        lost = set(self.unlogged()) - {draft.facts.get("data_version") for draft in drafts}
        if lost:
            raise Unverifiable(
                f"the Git remote has no log {self._ref}, and {min(lost)} was in one",
                fix=f"Push it from a clone that has it: git push origin {self._ref}. Where none "
                "has, what was trained before can't be told: go on under another `name`.",
            )

    def _is_cut(self, head: CommitSha) -> bool:
        """Tell whether a shallow clone has only the end of a log."""
        boundary = self.shallow_boundary()
        return bool(boundary) and not boundary.isdisjoint(
            self._git.run("rev-list", head).decode().split()
        )

    def _published(self, head: CommitSha | None) -> bool:
        """Push the log; False when the remote has gone on meanwhile."""
        remote = self._some_remote()
        pushed, said = self._push(remote, f"{head}:{self._ref}")
        if pushed is Pushed.DECLINED:
            raise OutsideError(
                f"the remote '{remote}' does not take the log {self._ref}: {said}",
                fix="Allow clew to push refs/clew/* there, then run again.",
            )
        if pushed is Pushed.DONE:
            self._git.run("update-ref", self._theirs, head or "")
        return pushed is Pushed.DONE

    def _extend(self, drafts: Sequence[Draft]) -> CommitSha | None:
        """Return the head with the drafts that were missing; other commands may write meanwhile.

        What only this clone has comes after all that the remote has.
        """
        for _ in range(PUSH_ATTEMPTS):
            ours, theirs = self.head(), self._peeled(self._theirs)
            head, wanted = ours, list(drafts)
            if theirs is not None and not (ours and self.is_ancestor(theirs, ours)):
                own = self._entries(ours)
                wanted = [*(Draft(entry.kind, entry.facts) for entry in own), *wanted]
                head = theirs
            head = self._with(head, wanted)
            if head == ours or self._moved(ours, head):
                return head
        raise OutsideError(
            f"other commands write to the log {self._ref} all the time",
            fix="Run the same command again.",
        )

    def _with(self, head: CommitSha | None, drafts: Sequence[Draft]) -> CommitSha | None:
        known = {entry.key for entry in self._entries(head)}
        for draft in drafts:
            if draft.key not in known:
                known.add(draft.key)
                head = self._entry(draft, head)
        return head

    def _moved(self, before: CommitSha | None, head: CommitSha | None) -> bool:
        """Move the ref; False when it is no longer where it was."""
        done = self._git.attempt("update-ref", self._ref, head or "", before or NO_OBJECT)
        return done.returncode == 0

    def _entry(self, draft: Draft, parent: CommitSha | None) -> CommitSha:
        tree = self._git.run("hash-object", "-w", "-t", "tree", "--stdin").decode().strip()
        line = " ".join(draft.key)
        document = json.dumps({"kind": draft.kind, **draft.facts}, sort_keys=True)
        above = ("-p", parent) if parent else ()
        made = self._git.run(
            *("commit-tree", "--no-gpg-sign", *above, "-F", "-", tree),
            stdin=f"{line}\n\n{document}\n".encode(),
            env=WHO,
        )
        return CommitSha(made.decode().strip())

    def _entries(self, head: CommitSha | None) -> tuple[Entry, ...]:
        """Return the entries up to one; they never change, so they are read once."""
        if head != self._known_entries[0]:
            self._known_entries = head, tuple(self._read(head) if head else ())
        return self._known_entries[1]

    def _read(self, head: CommitSha) -> Iterator[Entry]:
        if self._is_cut(head):
            raise self._unreadable(1, head, "this clone is shallow and has only the log's end")
        # A clone's grafts would leave entries out.
        whole = {"GIT_GRAFT_FILE": os.devnull}
        rows = self._git.run("log", "--reverse", f"--format={FORMAT}", head, env=whole).decode()
        above = ""
        for number, row in enumerate(rows.split("\0\0\n")[:-1], start=1):
            sha, parents, seconds, text = row.split("\0", 3)
            if parents != above:
                raise self._unreadable(number, sha, "it does not stand on the entry before it")
            above = sha
            moment = datetime.fromtimestamp(int(seconds), UTC)
            yield self._parsed(number, CommitSha(sha), moment, text)

    def _parsed(self, number: int, sha: CommitSha, moment: datetime, text: str) -> Entry:
        try:
            facts = json.loads(text.partition("\n\n")[2])
            kind = facts.pop("kind")
        except (ValueError, KeyError, AttributeError) as error:
            raise self._unreadable(number, sha, "it is no JSON object with a kind") from error
        if kind not in KEYS or not all(isinstance(value, str) for value in facts.values()):
            raise self._unreadable(number, sha, f"its kind {kind!r} or its facts are unknown")
        return Entry(number, sha, moment, kind, facts)

    def _unreadable(self, number: int, sha: str, why: str) -> Unverifiable:
        return Unverifiable(
            f"entry {number} ({sha[:12]}) of the log {self._ref} can't be read: {why}",
            fix="Someone else wrote to that ref: compare it with another clone's.",
        )

    def _rewritten(self, remote: str, why: str) -> Unverifiable:
        return Unverifiable(
            f"the log {self._ref} of the remote '{remote}' was rewritten: {why}",
            fix=f"What it was before is here as {self._theirs}; find out who changed it.",
        )
