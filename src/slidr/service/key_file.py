"""The file of API keys: who may ask the service for what, with a hash of each secret in the place of the secret.

A secret is 256 random bits and is shown once, when it is made. The file has its SHA-256 alone: a hash that resists
guessing of passwords would be slower and no safer, for nobody guesses 256 bits.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from slidr.errors import SettingsError, nearest

Scope = Literal["decide", "read", "admin"]
SCOPES: tuple[Scope, ...] = ("decide", "read", "admin")
PREFIX = "slidr_"
"""How every secret begins, so that a scanner finds one that was committed or posted by mistake."""
_SECRET_BYTES = 32
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_OTHERS_WRITE = 0o002
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An API key, as its file has it.

    Attributes:
        name: who has it; logs show it.
        scopes: what it is good for; `admin` includes the others.
        sha256: of the secret, hexadecimal.
        created: when it was made.
        expires: from when on it is refused; None for never.
        revoked: when it was revoked; None where it was not.
    """

    name: str
    scopes: tuple[Scope, ...]
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    created: Annotated[datetime, Meta(tz=True)]
    expires: Annotated[datetime, Meta(tz=True)] | None = None
    revoked: Annotated[datetime, Meta(tz=True)] | None = None

    def state(self, now: int) -> Literal["valid", "expired", "revoked"]:
        """Return what the key is worth at a time, microseconds UTC."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and moment(now) >= self.expires else "valid"


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    version: Literal[1]
    keys: tuple[Key, ...] = ()


def moment(time: int) -> datetime:
    """Return an instant given in microseconds UTC.

    >>> moment(1_000_000).isoformat()
    '1970-01-01T00:00:01+00:00'
    """
    return _EPOCH + timedelta(microseconds=time)


def hash_of(secret: bytes) -> str:
    """Return what the file keeps of a secret."""
    return sha256(secret).hexdigest()


def read_keys(path: Path) -> tuple[Key, ...]:
    """Return the keys of a file, oldest first; none where there is no file.

    Raises:
        SettingsError: the file cannot be read, does not hold keys, or may be written by everybody.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read()
    except FileNotFoundError:
        return ()
    except OSError as fault:
        raise SettingsError(f"no API keys: {path} cannot be read ({fault.strerror}); see storage.api_keys") from None
    if mode & _OTHERS_WRITE:
        raise SettingsError(f"{path} may be written by everybody, who could add keys of their own: chmod 600 {path}")
    try:
        keys = msgspec.json.decode(content, type=_Document).keys
    except (msgspec.MsgspecError, UnicodeDecodeError) as fault:
        raise SettingsError(f"{path} does not hold API keys: {fault}; `slidr keys add` writes such a file") from None
    for what, found in (("name", [key.name for key in keys]), ("hash", [key.sha256 for key in keys])):
        if len(set(found)) < len(found):
            raise SettingsError(f"{path}: two API keys have one {what}; delete one of them")
    return keys


def add_key(path: Path, name: str, scopes: Sequence[Scope], *, now: int, lifetime: int | None = None) -> str:
    """Add a key to the file, which is made where missing, and return its secret, which is kept nowhere.

    Args:
        path: the file.
        name: who gets the key.
        scopes: what it is good for.
        now: microseconds UTC.
        lifetime: microseconds after which it is refused; None for never.

    Raises:
        SettingsError: the name is none or taken, there is no scope, or the file cannot be written.
    """
    if not _NAME.fullmatch(name):
        raise SettingsError(f"{name!r} cannot name a key: give 1 to 64 of A-Z a-z 0-9 . _ - that begin with no sign")
    if not scopes:
        raise SettingsError(f"the key {name!r} has no scope; give one of {', '.join(SCOPES)}")
    secret = f"{PREFIX}{secrets.token_urlsafe(_SECRET_BYTES)}"
    with _locked(path):
        keys = read_keys(path)
        if any(key.name == name for key in keys):
            raise SettingsError(f"{path} has a key {name!r}; choose another name, also where that one is revoked")
        expires = None if lifetime is None else moment(now + lifetime)
        chosen = tuple(scope for scope in SCOPES if scope in scopes)
        _write(path, (*keys, Key(name, chosen, hash_of(secret.encode()), moment(now), expires)))
    return secret


def revoke_key(path: Path, name: str, *, now: int) -> Key:
    """Mark a key as revoked and return it; one that was revoked before stays as it was.

    Raises:
        SettingsError: there is no such key, or the file cannot be written.
    """
    with _locked(path):
        keys = {key.name: key for key in read_keys(path)}
        if name not in keys:
            known = nearest(name, keys) if keys else "it has none"
            raise SettingsError(f"{path} has no key {name!r}; {known}")
        if keys[name].revoked is None:
            keys[name] = msgspec.structs.replace(keys[name], revoked=moment(now))
            _write(path, tuple(keys.values()))
    return keys[name]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process at a time change the file; the lock is on its folder, since the file itself is replaced."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as fault:
        raise SettingsError(f"{path.parent} cannot hold API keys ({fault.strerror}); see storage.api_keys") from None
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _write(path: Path, keys: tuple[Key, ...]) -> None:
    content = msgspec.json.format(msgspec.json.encode({"version": 1, "keys": keys}), indent=2) + b"\n"
    part = path.with_name(f"{path.name}.part")
    try:
        part.unlink(missing_ok=True)
        with os.fdopen(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as fault:
        raise SettingsError(f"no API keys: {path} cannot be written ({fault.strerror})") from None
