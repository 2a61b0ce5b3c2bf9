"""The life of tokens while they are used: made, edited, rotated, ended; and what is cut off."""

import random
import socket
import time
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime

from bench.soak.ledger import Ledger, UnexpectedError
from bench.soak.site import UPSTREAM, Site
from bench.soak.work import must, must_be_refused
from gitpat_proxy.access.model import Author
from gitpat_proxy.git.pktline import pkt_line
from tests.support.raw import service_request
from tests.support.secrets_seen import SEEN

CUT_SECONDS = 1.0
"""How long a clone may go on whose token has ended."""
_EXPIRY_SECONDS = 4
"""How far ahead an end is set: the API must get to know of it before it has passed."""
_PAUSE_SECONDS = 0.03
"""Between the reads of a slow clone, which is to take longer than all that ends it."""
_DISABLED = "bob"
_AUTHOR = Author("soak")


class TokenLife:
    """Makes a token, uses it, changes it, ends it; after each step git is let in or not, at once."""

    def __init__(self, site: Site, ledger: Ledger, name: str) -> None:
        self._site, self._ledger = site, ledger
        self._git = site.git(name, "")
        self._ends = [self._revoke, self._rotate, self._expire]

    def __call__(self) -> None:
        end = self._ends[0]
        self._ends = self._ends[1:] + self._ends[:1]
        secret, token_id = self._site.make_token("code:read")
        self._git.use(secret)
        self._is_let_in("token made")
        self._edit(token_id, scopes=["work_items:read"])
        self._is_refused("token edited", "scope_missing")
        self._edit(token_id, scopes=["code:write"])
        self._is_let_in("token edited")
        end(token_id)

    def _edit(self, token_id: str, **fields: object) -> None:
        self._site.api(self._site.manager, "PATCH", f"/tokens/{token_id}", due=200, **fields)

    def _revoke(self, token_id: str) -> None:
        self._site.api(self._site.manager, "DELETE", f"/tokens/{token_id}?reason=soak", due=200)
        self._is_refused("token revoked", "token_revoked")

    def _rotate(self, token_id: str) -> None:
        rotated = self._site.api(self._site.manager, "POST", f"/tokens/{token_id}/rotate", due=200)
        self._is_refused("token rotated", "token_unknown", "throttled")
        SEEN.secrets.add(rotated["token"])
        self._git.use(rotated["token"])
        self._is_let_in("token rotated")
        self._revoke(rotated["id"])

    def _expire(self, token_id: str) -> None:
        end = ends_in(_EXPIRY_SECONDS)
        self._edit(token_id, expires=end.isoformat())
        self._site.over.wait(max(0.0, end.timestamp() - time.time()) + 0.01)
        if time.time() > end.timestamp():
            self._is_refused("token expired", "token_expired")

    def _is_let_in(self, kind: str) -> None:
        must(self._git, "ls-remote", self._url)
        self._ledger.done(kind)

    def _is_refused(self, kind: str, *causes: str) -> None:
        self._ledger.refused(kind, must_be_refused(self._git.try_("ls-remote", self._url), *causes))

    @property
    def _url(self) -> str:
        return self._site.url(random.choice(["small", f"{UPSTREAM}small"]))


def ends_in(seconds: float) -> datetime:
    """Return a moment so far ahead, at a whole second, as tokens end at one."""
    return datetime.fromtimestamp(int(time.time() + seconds) + 1, UTC)


class CutClone:
    """Clones slowly, and ends the token meanwhile: the clone must be cut off within a second."""

    def __init__(self, site: Site, ledger: Ledger) -> None:
        self._site, self._ledger = site, ledger
        self._ends: list[tuple[str, Callable[[str], float]]] = [
            ("clone cut off, token revoked", self._revoke),
            ("clone cut off, token expired", self._expire),
            ("clone cut off, account disabled", self._disable),
        ]
        self._disabled = False
        site.front.make_account(_DISABLED)

    def __call__(self) -> None:
        kind, end = self._ends[0]
        self._ends = self._ends[1:] + self._ends[:1]
        repository = random.choice(["large", f"{UPSTREAM}large"])
        secret, token_id = self._token(kind)
        with closing(begin_clone(self._site, secret, repository)) as clone:
            _take(clone, time.time() + random.uniform(0.2, 1.0))
            try:
                ended = end(token_id)
                is_whole = _take(clone, ended + 10 * CUT_SECONDS)
                seconds = time.time() - ended
            finally:
                self._enable()
        if is_whole:
            raise UnexpectedError("not cut off", f"{kind}, {repository}: it was completed")
        if not 0 <= seconds <= CUT_SECONDS:
            text = f"{kind}, {repository}: its client read the end {seconds:.2f} s after the token's"
            raise UnexpectedError("not cut off in time", text)
        self._ledger.done(kind, seconds)

    def _token(self, kind: str) -> tuple[str, str]:
        if "account" not in kind:
            return self._site.make_token("code:read")
        secret, token = self._site.front.make_token("code:read", account=_DISABLED)
        return secret, token.id

    def _revoke(self, token_id: str) -> float:
        self._site.api(self._site.manager, "DELETE", f"/tokens/{token_id}?reason=soak", due=200)
        return time.time()

    def _expire(self, token_id: str) -> float:
        end = ends_in(_EXPIRY_SECONDS)
        fields = {"expires": end.isoformat()}
        self._site.api(self._site.manager, "PATCH", f"/tokens/{token_id}", due=200, **fields)
        return end.timestamp()

    def _disable(self, _token_id: str) -> float:
        self._site.front.services(lambda s: s.accounts.disable(_DISABLED, by=_AUTHOR))
        self._disabled = True
        return time.time()

    def _enable(self) -> None:
        if self._disabled:
            self._site.front.services(lambda s: s.accounts.enable(_DISABLED, by=_AUTHOR))
            self._disabled = False


def begin_clone(site: Site, secret: str, repository: str) -> socket.socket:
    """Ask for a clone, on a connection that holds little which was not read yet."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    connection.settimeout(60)
    try:
        connection.connect(("127.0.0.1", site.front.port))
        connection.sendall(clone_request(site, secret, repository))
    except BaseException:
        connection.close()
        raise
    return connection


def clone_request(site: Site, secret: str, repository: str) -> bytes:
    """Return what git sends to clone (gitprotocol-v2, "fetch")."""
    want = pkt_line(f"want {site.heads[repository]}".encode())
    body = (
        pkt_line(b"command=fetch")
        + b"0001"
        + pkt_line(b"ofs-delta")
        + want
        + pkt_line(b"done")
        + b"0000"
    )
    return service_request(
        "git-upload-pack", secret, body, "Git-Protocol: version=2", repository=repository
    )


def _take(clone: socket.socket, until: float) -> bool:
    """Read slowly, until the moment or the end; tell whether the answer is whole then."""
    tail = b""
    with suppress(ConnectionError):
        while time.time() < until and (chunk := clone.recv(65536)):
            tail = (tail + chunk)[-16:]
            time.sleep(_PAUSE_SECONDS)
    return tail.endswith(b"0000\r\n0\r\n\r\n")
