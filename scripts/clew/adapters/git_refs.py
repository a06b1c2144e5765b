"""Git: every branch, tag, stash and working tree, and the DVC pointer files that they have."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from clew.adapters.git import FETCH, GitRepository
from clew.adapters.git_command import Git
from clew.adapters.git_objects import OBJECT_ID
from clew.errors import ClewError, Unverifiable
from clew.identity import CommitSha
from clew.kept import Refs
from clew.pointer_files import Held, held_by, is_pointer_file

REMOTE_REFS = ("refs/heads/*", "refs/tags/*")
FORMAT = "%(refname)%00%(objectname)%00%(objecttype)%00%(*objectname)%00%(*objecttype)"
OWN = "refs/clew/"
BLOB_MODES = ("100644", "100755")


class GitRefs(GitRepository, Refs):
    """What a clone and its remote hold on to."""

    def __init__(self, root: Path, dvc_remote: str = "") -> None:
        super().__init__(root)
        self._dvc_remote = dvc_remote

    def is_ours(self, repository: str, remote: str) -> bool:
        ours = self.remote_url() or str(self.root)
        same = repository.removesuffix(".git") == ours.removesuffix(".git")
        return same or (bool(remote) and remote.rstrip("/") == self._dvc_remote.rstrip("/"))

    # --- refs --------------------------------------------------------------------------------

    def remote_refs(self) -> dict[str, CommitSha] | None:
        remote = self._remote()
        if remote is None:
            return None
        refs = self._refs(remote, *REMOTE_REFS)
        self._fetch_lacking(remote, refs)
        kinds = self._kinds(refs.values())
        commits = {ref: tip for ref, tip in refs.items() if kinds[tip] in ("commit", "missing")}
        trees = self.object_ids([(tip, "") for tip in commits.values()])
        for (ref, tip), tree in zip(commits.items(), trees, strict=True):
            if tree is None:
                raise Unverifiable(
                    f"{ref} of the Git remote is on {tip}, which this clone lacks",
                    fix="Run `git fetch`, or clean up from a whole clone.",
                )
        return commits

    def _kinds(self, oids: Iterable[str]) -> dict[str, str]:
        """Return what each object is: commit, or tree and blob, which tags may be on."""
        names = list(dict.fromkeys(oids))
        request = "".join(f"{name}\n" for name in names).encode()
        rows = self._git.run("cat-file", "--batch-check=%(objecttype)", stdin=request)
        return {
            n: row.split()[-1] for n, row in zip(names, rows.decode().splitlines(), strict=True)
        }

    def _fetch_lacking(self, remote: str, refs: dict[str, CommitSha]) -> None:
        known = self._known(refs.values())
        lacking = "".join(f"{ref}\n" for ref, tip in refs.items() if tip not in known)
        if lacking:
            # Without a depth, a shallow clone would get the whole history behind each of them.
            depth = ("--depth=1",) if self.shallow_boundary() else ()
            self._git.run(*FETCH, *depth, "--stdin", remote, stdin=os.fsencode(lacking))

    def local_refs(self) -> dict[str, CommitSha]:
        rows = self._git.run("for-each-ref", f"--format={FORMAT}").splitlines()
        refs: dict[str, CommitSha] = {}
        for row in rows:
            name, oid, kind, peeled, peeled_kind = row.decode(errors="surrogateescape").split("\0")
            # `origin/HEAD` is another name of a branch that is listed too.
            ours = name.startswith(OWN)  # the log, which holds no files
            if "commit" in (kind, peeled_kind) and not name.endswith("/HEAD") and not ours:
                refs[name] = CommitSha(oid if kind == "commit" else peeled)
        return refs | self._stashes() | self._heads()

    def _stashes(self) -> dict[str, CommitSha]:
        done = self._git.attempt("reflog", "show", "--format=%H", "refs/stash", "--")
        shas = [CommitSha(sha) for sha in done.stdout.decode().split()]
        return {f"refs/stash@{{{n}}}": sha for n, sha in enumerate(shas) if n}

    def _heads(self) -> dict[str, CommitSha]:
        heads = ((path, self._head(path)) for path in self._work_trees())
        return {f"working tree {path}": head for path, head in heads if head is not None}

    def _head(self, path: Path) -> CommitSha | None:
        done = Git(path).attempt("rev-parse", "--quiet", "--verify", "HEAD^{commit}")
        found = done.stdout.decode().strip()
        return CommitSha(found) if OBJECT_ID.fullmatch(found) else None

    def _work_trees(self) -> list[Path]:
        rows = self._git.run("worktree", "list", "--porcelain").split(b"\n")
        paths = [
            Path(os.fsdecode(r.removeprefix(b"worktree "))) for r in rows if r[:9] == b"worktree "
        ]
        return [path for path in paths if path.is_dir()]

    def bring(self, commit: str) -> CommitSha | None:
        if not OBJECT_ID.fullmatch(commit):
            return None
        found = self._peeled(commit)
        remote = self._remote()
        if found is None and remote is not None:
            depth = ("--depth=1",) if self.shallow_boundary() else ()
            self._git.attempt(*FETCH, *depth, remote, commit)
            found = self._peeled(commit)
        return found

    # --- pointer files -----------------------------------------------------------------------

    def pointer_files(self, commit: CommitSha) -> dict[str, bytes]:
        rows = self.entries(commit)
        wanted = {r.path: r.id for r in rows if r.mode in BLOB_MODES and is_pointer_file(r.path)}
        texts = self.blobs(dict.fromkeys(wanted.values()))
        lost = [path for path, oid in wanted.items() if oid not in texts]
        if lost:
            raise Unverifiable(
                f"{lost[0]} at the commit {commit[:12]} is not in this clone",
                fix="Clean up from a whole clone: this one is partial or damaged.",
            )
        return {path: texts[oid] for path, oid in wanted.items()}

    def uncommitted(self) -> dict[str, dict[str, bytes]]:
        found: dict[str, dict[str, bytes]] = {}
        for tree in self._work_trees():
            files = (name for name in _listed(Git(tree)) if is_pointer_file(name))
            there = {n: tree / n for n in files if (tree / n).is_file()}
            found[f"working tree {tree}"] = {n: path.read_bytes() for n, path in there.items()}
            found |= self._staged(tree)
        return found

    def _staged(self, tree: Path) -> dict[str, dict[str, bytes]]:
        """Return what was added and not committed; of a conflict, both sides."""
        stages: dict[str, dict[str, str]] = {}
        for row in filter(None, Git(tree).run("ls-files", "--stage", "-z").split(b"\0")):
            facts, _, name = row.partition(b"\t")
            _, oid, stage = facts.decode().split()
            if is_pointer_file(os.fsdecode(name)):
                stages.setdefault(stage, {})[os.fsdecode(name)] = oid
        staged: dict[str, dict[str, bytes]] = {}
        for stage, names in stages.items():
            texts = self.blobs(dict.fromkeys(names.values()))
            side = f", side {stage} of a conflict" if stage != "0" else ""
            staged[f"index of {tree}{side}"] = {n: texts[oid] for n, oid in names.items()}
        return staged

    def past(self) -> Iterator[Held]:
        # Only the words for what is removed come from here, so a clone with gaps will do.
        rows = self._git.attempt("rev-list", "--all", "--reflog", "--objects").stdout
        named: dict[str, str] = {}
        for line in rows.splitlines():
            name, _, path = line.partition(b" ")
            if is_pointer_file(os.fsdecode(path)):
                named[name.decode()] = os.fsdecode(path)
        texts = self.blobs(named)
        for oid, text in texts.items():
            found = held_by({named[oid]: text})
            yield from (one for one in found if not isinstance(one, ClewError))


def _listed(git: Git) -> Iterable[str]:
    """Return the files that Git tracks or would track, unmerged ones too."""
    rows = git.run("ls-files", "-z", "--cached", "--others", "--exclude-standard").split(b"\0")
    return dict.fromkeys(os.fsdecode(row) for row in filter(None, rows))
