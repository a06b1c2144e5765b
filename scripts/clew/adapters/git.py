"""Git: a repository and its remote, behind `Repository`."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import Self

from clew.adapters.git_command import Git, failure
from clew.adapters.git_write import GitWriter
from clew.errors import ConfigError, OutsideError, Unverifiable
from clew.identity import CommitSha
from clew.redaction import without_secrets
from clew.repository import Advance, RemoteBranches

PUSH_ATTEMPTS = 5
FETCH = (
    "fetch",
    "--quiet",
    "--no-tags",
    "--no-prune",
    "--no-recurse-submodules",
    "--no-write-fetch-head",
)
PUSH = ("push", "--porcelain", "--no-verify", "--no-follow-tags", "--recurse-submodules=no")
LOST_RACES = re.compile(
    r"cannot lock ref|failed to update ref|incorrect old value|reference already"
)
HEADS = "refs/heads/"
LOCAL_URL = re.compile(r"(?!\w[\w+.-]*://)(?![^/]*:)")
PASSWORD = re.compile(r"(?P<user>ssh://[^/:@]*):[^/]*@")


class Pushed(Enum):
    DONE = "done"
    BEHIND = "behind"  # the remote has something else there by now
    DECLINED = "declined"  # the remote's rules are against it


class GitRepository(GitWriter):
    """A repository with a working tree; its remote is `origin`, the only one, or the upstream's."""

    @classmethod
    def discover(cls, path: Path) -> Self:
        """Return the repository around a folder; ConfigError when there is none."""
        arguments = ("rev-parse", "--show-toplevel")
        done = Git(path).attempt(*arguments)
        if done.returncode == 0:
            return cls(Path(os.fsdecode(done.stdout).removesuffix("\n")))
        if b"must be run in a work tree" in done.stderr:
            raise ConfigError(
                f"the Git repository at {path} has no working tree (it is bare)",
                fix="Clone it, and run clew in the clone.",
            )
        raise failure(path, arguments, done.returncode, done.stderr)

    # --- the remote as it is configured ----------------------------------------------------

    def remote_url(self) -> str | None:
        remote = self._remote()
        if remote is None:
            return None
        url = os.fsdecode(self._git.run("remote", "get-url", "--", remote)).strip()
        if LOCAL_URL.match(url):
            return str((self.root / url).resolve())
        if url.startswith("ssh://"):
            return PASSWORD.sub(r"\g<user>@", url)
        return without_secrets(url)

    def _remote(self) -> str | None:
        names = os.fsdecode(self._git.run("remote")).split()
        if "origin" in names or not names:
            return "origin" if names else None
        if len(names) == 1:
            return names[0]
        key = f"branch.{self.head_branch()}.remote"
        upstream = os.fsdecode(self._git.attempt("config", "--get", key).stdout).strip()
        if upstream in names:
            return upstream
        raise ConfigError(
            f"there are several Git remotes ({', '.join(names)}), none named origin",
            fix="Name the one to use: git branch --set-upstream-to <remote>/<branch>",
        )

    def _some_remote(self) -> str:
        remote = self._remote()
        if remote is None:
            raise ConfigError("the repository has no Git remote", fix="Add one: git remote add")
        return remote

    def _refs(self, remote: str, *patterns: str) -> dict[str, CommitSha]:
        """Return the remote's refs now, annotated tags as the commit they point to."""
        rows = self._git.run("ls-remote", "--quiet", remote, *patterns).splitlines()
        refs: dict[str, CommitSha] = {}
        for row in rows:
            sha, _, name = row.partition(b"\t")
            refs[os.fsdecode(name).removesuffix("^{}")] = CommitSha(sha.decode())
        return refs

    # --- reading from the remote -----------------------------------------------------------

    def deepen(self) -> bool:
        remote = self._remote()
        if remote is not None and self.shallow_boundary():
            self._git.run(*FETCH, "--unshallow", remote)
        return remote is not None

    def fetch_tag(self, tag: str) -> CommitSha | None:
        remote = self._remote()
        if remote is None:
            return None
        ref = f"refs/tags/{tag}"
        theirs = self._refs(remote, ref, f"{ref}^{{}}").get(ref)
        if theirs is None:
            return None
        ours = self.tag_commit(tag)
        if ours is not None:
            _check_same(tag, ours, theirs)
            return ours
        # Without a depth, a shallow clone would get the whole history behind the tag.
        lacking = self._peeled(theirs) is None and bool(self.shallow_boundary())
        depth = ("--depth=1",) if lacking else ()
        self._git.run(*FETCH, *depth, remote, f"{ref}:{ref}")
        return self.tag_commit(tag)

    def branches(self) -> dict[str, CommitSha]:
        tips = dict(self.remote_branches().tips)
        self.bring_branches(tips)
        return tips

    def remote_branches(self) -> RemoteBranches:
        remote = self._remote()
        if remote is None:
            return RemoteBranches(None, {})
        asked = ("ls-remote", "--quiet", "--symref", remote, "HEAD", f"{HEADS}*")
        default: str | None = None
        tips: dict[str, CommitSha] = {}
        for row in self._git.run(*asked).splitlines():
            said, _, name = os.fsdecode(row).partition("\t")
            if name.startswith(HEADS):
                tips[name.removeprefix(HEADS)] = CommitSha(said)
            elif name == "HEAD" and said.startswith(f"ref: {HEADS}"):
                default = said.removeprefix(f"ref: {HEADS}")
        return RemoteBranches(default, tips)

    def bring_branches(self, tips: Mapping[str, CommitSha]) -> None:
        known = self._known(tips.values())
        lacking = [f"{HEADS}{branch}" for branch, tip in tips.items() if tip not in known]
        if lacking:
            self._bring(self._some_remote(), lacking)

    def _bring(self, remote: str, refs: Iterable[str]) -> None:
        """Fetch refs' commits; no ref of this clone moves."""
        wanted = "".join(f"{ref}\n" for ref in refs)
        if wanted:
            self._git.run(*FETCH, "--stdin", remote, stdin=os.fsencode(wanted))

    def is_ancestor(self, older: CommitSha, newer: CommitSha) -> bool | None:
        if self._peeled(newer) is None:
            self.on_remote(newer)  # which fetches what this clone lacks of the branches
        return None if self._peeled(newer) is None else self.is_behind(older, [newer])

    def descendants(self, commit: CommitSha, among: Iterable[CommitSha]) -> frozenset[CommitSha]:
        known = self._known(among)
        lines = "\n".join([f"^{commit}", *known]).encode()
        found = self._git.run("rev-list", "--ancestry-path", "--stdin", stdin=lines).decode()
        return frozenset(map(CommitSha, known & {commit, *found.split()}))

    def merge_base(self, one: CommitSha, other: CommitSha) -> CommitSha | None:
        done = self._git.attempt("merge-base", one, other)
        return CommitSha(done.stdout.decode().strip()) if done.returncode == 0 else None

    def on_remote(self, commit: CommitSha) -> bool:
        remote = self._remote()
        if remote is None:
            return False
        refs = self._refs(remote, "refs/heads/*", "refs/tags/*")
        if commit in refs.values() or self.is_behind(commit, refs.values()):
            return True
        known = self._known(refs.values())
        missing = [ref for ref, tip in refs.items() if tip not in known]
        if not missing:
            return False
        self._bring(remote, missing)
        return self.is_behind(commit, refs.values())

    def is_behind(self, commit: CommitSha, tips: Iterable[CommitSha]) -> bool:
        if self._peeled(commit) is None:
            return False
        lines = [commit, *(f"^{tip}" for tip in tips)]
        done = self._git.run(
            "rev-list", "-1", "--ignore-missing", "--stdin", stdin="\n".join(lines).encode()
        )
        return not done.strip()

    # --- writing to the remote -------------------------------------------------------------

    def push_tag(self, tag: str) -> None:
        """Push one tag; Unverifiable when the remote has it on another commit."""
        remote = self._some_remote()
        ref = f"refs/tags/{tag}"
        ours = self.commit(ref)
        pushed, said = self._push(remote, f"{ref}:{ref}")
        if pushed is Pushed.DONE:
            return
        theirs = self._refs(remote, ref, f"{ref}^{{}}").get(ref)
        if theirs is None:
            raise OutsideError(
                f"the remote '{remote}' does not take the tag {tag}: {said}",
                fix="Allow clew's tags (data/*) there, then run again.",
            )
        _check_same(tag, ours, theirs)

    def push_branch(self) -> None:
        remote, branch = self._some_remote(), self.head_branch()
        if branch is None:
            raise ConfigError("no branch is checked out", fix="Run `git switch` to one first.")
        pushed, said = self._push(remote, f"refs/heads/{branch}:refs/heads/{branch}")
        if pushed is not Pushed.DONE:
            raise OutsideError(
                f"the remote '{remote}' does not take {branch}: {said}",
                fix="Run `git pull --rebase`, or push it to a branch and open a pull request.",
            )

    def advance(
        self,
        branch: str,
        old: CommitSha,
        new: CommitSha,
        path: str,
        fits: Callable[[CommitSha], bool] = bool,
    ) -> Advance:
        remote = self._remote()
        if remote is None:
            return Advance.NO_REMOTE
        commit = new
        for _ in range(PUSH_ATTEMPTS):
            pushed, _said = self._push(remote, f"{commit}:refs/heads/{branch}")
            if pushed is Pushed.DONE:
                return Advance.MOVED if commit == new else Advance.REBASED
            if pushed is Pushed.DECLINED:
                break
            head = self._head_of(remote, branch)
            before, wanted, there = self.object_ids([(c, path) for c in (old, new, head)])
            if there == wanted or self.is_behind(new, [head]):
                return Advance.MOVED
            if not fits(head):
                return Advance.OVERTAKEN
            if there != before:
                break
            commit = self._moved_onto(head, new, path)
        self._offer(remote, branch, new)
        return Advance.OFFERED

    def _moved_onto(self, head: CommitSha, commit: CommitSha, path: str) -> CommitSha:
        """Return the one-file commit again, on top of another head."""
        content = self.read(commit, [path])[path] or b""
        raw = self._git.run("cat-file", "commit", commit)
        message = raw.partition(b"\n\n")[2].decode()
        return self.commit_file(head, path, content, message)

    def _head_of(self, remote: str, branch: str) -> CommitSha:
        ref = f"refs/heads/{branch}"
        head = self._refs(remote, ref).get(ref)
        if head is None:
            raise OutsideError(f"the branch {branch} has just gone from the remote '{remote}'")
        if self._peeled(head) is None:
            self._git.run(*FETCH, remote, ref)
        return head

    def _offer(self, remote: str, branch: str, commit: CommitSha) -> None:
        name = f"clew/{branch}-{commit[:12]}"
        pushed, said = self._push(remote, f"{commit}:refs/heads/{name}")
        if pushed is not Pushed.DONE:
            raise OutsideError(
                f"the remote '{remote}' takes dvc.lock neither on {branch} nor as {name}: {said}",
                fix="Allow branches named clew/* there, then run again.",
            )

    def _push(self, remote: str, refspec: str) -> tuple[Pushed, str]:
        """Push one ref, never forced; OutsideError when the remote could not be asked at all."""
        arguments = (*PUSH, remote, refspec)
        done = self._git.attempt(*arguments)
        if done.returncode == 0:
            return Pushed.DONE, ""
        rows = done.stdout.decode(errors="replace").splitlines()
        said = next((row.split("\t")[-1] for row in rows if row.startswith("!")), None)
        if said is None:
            raise failure(self.root, arguments, done.returncode, done.stderr)
        lost = said.startswith("[rejected]") or LOST_RACES.search(said)
        return (Pushed.BEHIND if lost else Pushed.DECLINED), without_secrets(said)


def _check_same(tag: str, ours: CommitSha, theirs: CommitSha) -> None:
    if ours != theirs:
        raise Unverifiable(
            f"the tag {tag} is on {ours} here and on {theirs} in the remote",
            fix=f"A data version never moves. If the remote is right: git tag -d {tag}",
        )
