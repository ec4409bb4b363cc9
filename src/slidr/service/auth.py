"""Authentication: which of the API keys a request shows, and whether it is good for what the request asks."""

from __future__ import annotations

import logging
import os
from datetime import timedelta
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from slidr.clock import SECOND, Clock
from slidr.errors import ServiceError, SettingsError
from slidr.service.door import Headers, Problem, RefusedError
from slidr.service.key_file import Key, moment, read_keys

_MOST_CACHED = 1024  # spellings of an authorization header
_OTHERS_READ = 0o077
_NEVER = 1 << 62  # microseconds
_SHOW = "send `authorization: Bearer slidr_...`; `slidr keys add` makes a key"
_log = logging.getLogger("slidr.service")

_Stamp = tuple[int, int, int, int] | None


class _Grant(NamedTuple):
    """What a key is good for.

    Attributes:
        name: of the key.
        scopes: those it has, and those they include.
        expires: microseconds UTC.
        revoked: whether it was revoked.
    """

    name: str
    scopes: frozenset[str]
    expires: int
    revoked: bool


class Keys:
    """The API keys of a service.

    Requests are open to everybody as long as there has been no key file. The file is looked at again at most once a
    second of the clock, when a request comes; one that became unreadable or vanished leaves the keys as they were.

    A secret is found by its SHA-256 in a dictionary: how long that takes tells nothing about the secrets that are
    known. What a header meant is remembered by its bytes, so that a key that was seen before costs no hash.

    Args:
        path: the file, which need not exist.
        clock: tells when a key expires.

    Attributes:
        open: whether no key is asked for.

    Raises:
        SettingsError: the file does not hold keys, cannot be read, or may be written by everybody.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._grants: dict[bytes, _Grant] = {}
        self._seen: dict[bytes, _Grant] = {}
        self._looked = clock.now()
        self._stamp = self._stamp_of_file()
        self.open = self._stamp is None
        if self._stamp is not None:
            self._load()

    def check(self, headers: list[tuple[bytes, bytes]] | Headers, scope: str) -> str | None:
        """Return the name of the key that a request shows; None where no key is asked for.

        Args:
            headers: of the request, names in lower case.
            scope: what the key must be good for.

        Raises:
            RefusedError: 401 where the request shows no key, or one that is not known, has expired or was revoked; 403
                where the key is good for other things alone.
        """
        now = self._clock.now()
        if not 0 <= now - self._looked < SECOND:
            self._look(now)
        if self.open:
            return None
        shown = None
        for name, value in headers:
            if name == b"authorization":
                if shown is not None:
                    raise _unauthorized("the request has two authorization headers; send one", "invalid_request")
                shown = value
        if shown is None:
            raise _unauthorized(f"the request shows no API key; {_SHOW}")
        grant = self._seen.get(shown)
        if grant is None:
            grant = self._find(shown)
        if grant.revoked:
            raise _unauthorized(f"the API key {grant.name!r} was revoked; ask for another", "invalid_token")
        if now >= grant.expires:
            when = moment(grant.expires).isoformat(timespec="seconds")
            raise _unauthorized(f"the API key {grant.name!r} expired at {when}; ask for another", "invalid_token")
        if scope not in grant.scopes:
            raise _forbidden(grant, scope)
        return grant.name

    def _find(self, shown: bytes) -> _Grant:
        """Return what the key of a header is good for, and remember it; unknown ones are not remembered."""
        kind, _, secret = shown.partition(b" ")
        if kind.lower() != b"bearer":
            raise _unauthorized(f"the authorization header is not a Bearer one; {_SHOW}", "invalid_request")
        grant = self._grants.get(sha256(secret.strip()).digest())
        if grant is None:
            raise _unauthorized(f"the API key is not known; {_SHOW}", "invalid_token")
        if len(self._seen) >= _MOST_CACHED:
            self._seen.clear()
        self._seen[shown] = grant
        return grant

    def _look(self, now: int) -> None:
        """Read the file again where it has changed."""
        self._looked = now
        stamp = self._stamp_of_file()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        if stamp is None:
            _log.error("%s is gone; the API keys stay as they were", self._path)
            return
        try:
            self._load()
        except SettingsError as fault:
            _log.error("the API keys stay as they were: %s", fault)
            return
        _log.info("%d API keys read from %s", len(self._grants), self._path)

    def _load(self) -> None:
        keys = read_keys(self._path)
        if self._stamp and self._stamp[0] & _OTHERS_READ:
            _log.warning("%s may be read by other accounts: chmod 600 %s", self._path, self._path)
        self._grants = {bytes.fromhex(key.sha256): _grant(key) for key in keys}
        self._seen = {}
        self.open = False

    def _stamp_of_file(self) -> _Stamp:
        """Return what changes whenever the file does; None where there is none."""
        try:
            found = os.stat(self._path)  # noqa: PTH116 a third of the cost of Path.stat
        except FileNotFoundError:
            return None
        except OSError:
            # It is there, as far as can be told; reading it says what is wrong.
            return (0, 0, 0, 0)
        return (found.st_mode, found.st_mtime_ns, found.st_size, found.st_ino)


def check_exposure(keys: Keys, host: str, *, allowed: bool) -> None:
    """Refuse to serve everybody who reaches the machine without asking for a key.

    Args:
        keys: of the service.
        host: the address that is listened on.
        allowed: `service.open` of the settings.

    Raises:
        ServiceError: no key is asked for, and the address is not this machine's own.
    """
    if keys.open and not allowed and not ip_address(host.partition("%")[0]).is_loopback:
        raise ServiceError(
            f"service.host is {host}, which others reach, and there are no API keys: make one with `slidr keys add NAME"
            " --scope decide`, listen on 127.0.0.1, or set service.open = true where something in front asks for keys"
        )


def _grant(key: Key) -> _Grant:
    scopes = frozenset({"decide", "read", "admin"} if "admin" in key.scopes else key.scopes)
    expires = _NEVER if key.expires is None else (key.expires - moment(0)) // timedelta(microseconds=1)
    return _Grant(key.name, scopes, expires, key.revoked is not None)


def _unauthorized(detail: str, error: str = "") -> RefusedError:
    """Return a refusal with the challenge of RFC 6750; without any key shown, it names no error."""
    challenge = f'Bearer realm="slidr", error="{error}"' if error else 'Bearer realm="slidr"'
    return RefusedError(Problem("no valid key", 401, detail), headers=((b"www-authenticate", challenge.encode()),))


def _forbidden(grant: _Grant, scope: str) -> RefusedError:
    has = ", ".join(sorted(grant.scopes))
    detail = f"the API key {grant.name!r} is good for {has}, and this takes {scope}; ask for a key with that scope"
    challenge = f'Bearer realm="slidr", error="insufficient_scope", scope="{scope}"'
    return RefusedError(Problem("not allowed", 403, detail), headers=((b"www-authenticate", challenge.encode()),))
