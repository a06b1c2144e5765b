"""Tokens: how subjects are called wherever their own ids must not be.

A subject's token is HMAC-SHA256 under the subject key over its salt and its id. The salts lie in
the vault, each under an HMAC of the id, so the vault names nobody. Forgetting a subject is deleting
its salt, after which nobody can tell its token; a mark stays that there was one.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence, Set
from itertools import islice
from typing import NewType, Protocol

from clew.errors import Unverifiable
from clew.records.keys import digest, key_id

Token = NewType("Token", str)  # 64 hex digits
FORGOTTEN = Token("0" * 64)  # of every subject whose salt was deleted
SALT_BYTES = 16
BATCH = 100_000  # subjects; one transaction each, and one for each is slow


class Tokens(Protocol):
    """Who is called what."""

    id: str  # of key and vault: the same subject has the same token only under the same one

    def count(self) -> int:
        """Return how many subjects the vault ever saw."""

    def generation(self) -> str:
        """Return what the vault is called until it gives out salts again."""

    def had(self, generation: str) -> bool:
        """Tell whether the vault has all salts of a generation; an older copy of it has not."""

    def find(self, subject: str) -> Token | None:
        """Return a subject's token, None when the vault never saw it.

        Unverifiable when the subject was forgotten, or the vault is damaged, or another key's.
        """

    def known(self, subjects: Iterable[str]) -> dict[str, Token]:
        """Return the tokens of those whom the vault has seen; nobody is given a salt."""

    def of(self, subjects: Iterable[str]) -> dict[str, Token]:
        """Return the token of each subject; new ones are given a salt, forgotten ones FORGOTTEN."""


class Vault(Protocol):
    """The salts, each under the lookup of its subject; an empty one is of a forgotten subject."""

    def claim(self, key_id: str) -> str:
        """Bind a new vault to a key and return its id; Unverifiable when it is another key's."""

    def count(self) -> int: ...

    def generation(self) -> str: ...

    def generations(self) -> Set[str]:
        """Return the names of all generations, which an older copy does not have all."""

    def salt(self, lookup: bytes) -> bytes | None:
        """Return one salt; Unverifiable when salts were lost or changed."""

    def salts(self, lookups: Sequence[bytes]) -> dict[bytes, bytes]: ...

    def add(self, salts: Mapping[bytes, bytes]) -> None:
        """Keep salts for lookups that have none; those that another command gave one keep it."""

    def forget(self, lookup: bytes) -> bool:
        """Delete a salt for good; False when there is none."""

    def rebind(self, lookups: Mapping[bytes, bytes], key_id: str) -> None:
        """Put salts under other lookups and drop the rest, at once or not at all.

        `lookups` are the new ones by the old; the vault belongs to the other key from then on.
        """


class VaultTokens(Tokens):
    """The vault together with the subject key."""

    def __init__(self, key: bytes, vault: Vault) -> None:
        self._key, self._vault = key, vault
        self.id = f"{key_id(key)}-{vault.claim(key_id(key))}"

    def count(self) -> int:
        return self._vault.count()

    def generation(self) -> str:
        return self._vault.generation()

    def had(self, generation: str) -> bool:
        return generation in self._vault.generations()

    def find(self, subject: str) -> Token | None:
        lookup = self._lookup(subject)
        salt = self._vault.salt(lookup)
        if salt == b"":
            raise Unverifiable(
                "this subject was forgotten: its salt is deleted, so its token is nobody's",
                fix="What the manifests still hold of it shows `clew audit excluded`.",
            )
        return None if salt is None else self._token(salt, subject)

    def known(self, subjects: Iterable[str]) -> dict[str, Token]:
        return self._found(subjects, giving=False)

    def of(self, subjects: Iterable[str]) -> dict[str, Token]:
        return self._found(subjects, giving=True)

    def has_salt(self, subject: str) -> bool:
        """Tell whether there is a salt to forget."""
        lookup = self._lookup(subject)
        return bool(self._vault.salts([lookup]).get(lookup))

    def forget(self, subject: str) -> bool:
        """Delete a subject's salt; False when there was none."""
        return self._vault.forget(self._lookup(subject))

    def rotated(self, key: bytes, subjects: Iterable[str]) -> VaultTokens:
        """Return the tokens under another key, of the subjects whose salts are to be kept.

        The salts stay the subjects' own, the forgotten stay forgotten, and the vault changes at
        once or not at all.
        """
        lookups = {
            self._lookup(subject): digest(key, b"lookup", subject.encode())
            for subject in dict.fromkeys(subjects)
        }
        self._vault.rebind(lookups, key_id(key))
        return VaultTokens(key, self._vault)

    def carried(self, subjects: Iterable[str]) -> int:
        """Return how many subjects' salts `rotated` would keep."""
        lookups = [self._lookup(subject) for subject in dict.fromkeys(subjects)]
        return len(self._vault.salts(lookups))

    def _found(self, subjects: Iterable[str], *, giving: bool) -> dict[str, Token]:
        found: dict[str, Token] = {}
        rest = iter(dict.fromkeys(subjects))
        while batch := list(islice(rest, BATCH)):
            lookups = {subject: self._lookup(subject) for subject in batch}
            salts = self._salts(list(lookups.values()), giving=giving)
            for subject, lookup in lookups.items():
                if (salt := salts.get(lookup)) is not None:
                    found[subject] = self._token(salt, subject) if salt else FORGOTTEN
        return found

    def _salts(self, lookups: Sequence[bytes], *, giving: bool) -> Mapping[bytes, bytes]:
        salts = self._vault.salts(lookups)
        missing = [lookup for lookup in lookups if lookup not in salts]
        if missing and giving:
            self._vault.add({lookup: secrets.token_bytes(SALT_BYTES) for lookup in missing})
            salts = self._vault.salts(lookups)
        return salts

    def _lookup(self, subject: str) -> bytes:
        return digest(self._key, b"lookup", subject.encode())

    def _token(self, salt: bytes, subject: str) -> Token:
        return Token(digest(self._key, b"token", salt + subject.encode()).hex())
