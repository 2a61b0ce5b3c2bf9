"""Who sends a request to the pages: cookies, addresses, and what proves that a page of ours sent it."""

import secrets
from dataclasses import dataclass, field
from hmac import compare_digest
from ipaddress import ip_network

from aiohttp import hdrs, web
from yarl import URL

from gitpat_proxy.access.model import Account, Author, Session
from gitpat_proxy.access.secret import digest_of
from gitpat_proxy.config.model import Config
from gitpat_proxy.outcome import make_request_id
from gitpat_proxy.sender import address_of, is_sent_by, is_sent_by_socket
from gitpat_proxy.services.sessions import Sessions
from gitpat_proxy.services.sign_in import DEVICE_KNOWN, SignedIn, SignIn, Visit

_SESSION = "gitpat-session"
_DEVICE = "gitpat-device"
_FORM = "gitpat-form"
_LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1"))


@dataclass
class Visitor:
    """Who sends a request, and the cookies that the answer shall set: name, value, seconds or None."""

    visit: Visit
    secure: bool
    """People come by TLS, and so do their cookies."""
    sheltered: bool
    """Nobody on a network could read it: it came by TLS, or did not leave this machine."""
    session: Session | None = None
    account: Account | None = None
    csrf: str = ""
    new_cookies: list[tuple[str, str, int | None]] = field(default_factory=list)

    @property
    def author(self) -> Author:
        """Who does what they ask for, confined to what is theirs; only for those who are signed in."""
        if self.account is None:
            raise RuntimeError("nobody is signed in")
        name = self.account.name
        return Author(name, self.visit.address_text, self.visit.request, confined_to=name)

    def take(self, signed_in: SignedIn) -> None:
        """Have the cookies of a new session set."""
        self.new_cookies.append((_SESSION, signed_in.session_secret, None))
        if signed_in.device_secret:
            age = int(DEVICE_KNOWN.total_seconds())
            self.new_cookies.append((_DEVICE, signed_in.device_secret, age))

    def forget(self) -> None:
        """Have the session's cookie removed."""
        self.new_cookies.append((_SESSION, "", 0))

    def set_cookies(self, response: web.StreamResponse) -> None:
        for name, value, seconds in self.new_cookies:
            response.set_cookie(
                _full_name(name, secure=self.secure),
                value,
                max_age=seconds,
                path="/",
                secure=self.secure,
                httponly=True,
                samesite="Lax",
            )


class Visitors:
    """Finds out who a request comes from."""

    def __init__(self, config: Config, sessions: Sessions, sign_in: SignIn) -> None:
        self._config = config
        self._public_url = URL(config.public_url)
        self._sessions = sessions
        self._sign_in = sign_in

    async def visitor(self, request: web.Request) -> Visitor:
        """Return who it is; raises as `recognize` does."""
        visitor = self.stranger(request)
        await self.recognize(request, visitor)
        return visitor

    async def recognize(self, request: web.Request, visitor: Visitor) -> None:
        """Find out whose session it is, if any.

        Raises ServiceError if the proxy in front names somebody who can't sign in.
        """
        secret = _cookie(request, _SESSION, secure=visitor.secure)
        found = await self._sessions.find(secret, visitor.visit.address_text) if secret else None
        named = self._named_by_proxy(request)
        if found and not self._still_counts(found[0], named):
            found = None
        if found is None and named is not None:
            header = self._config.sign_in.header
            create = header is not None and header.create_accounts
            signed_in = await self._sign_in.by_header(named, visitor.visit, create_account=create)
            visitor.take(signed_in)
            secret = signed_in.session_secret
            found = await self._sessions.find(secret, visitor.visit.address_text)
        if found and secret:
            visitor.session, visitor.account = found
        else:
            secret = _cookie(request, _FORM, secure=visitor.secure)
            if not secret:
                secret = secrets.token_urlsafe(32)
                visitor.new_cookies.append((_FORM, secret, None))
        visitor.csrf = csrf_token_of(secret)

    def came_from_a_page_of_ours(self, request: web.Request, visitor: Visitor, csrf: str) -> bool:
        """Tell whether a page of ours sent it: by its token, and by what the browser says of it.

        `Sec-Fetch-Site` where the browser sends it (Fetch Metadata), as `Referrer-Policy: no-referrer`
        makes Origin "null" also within the site; Origin where it does not.
        """
        if not csrf or not compare_digest(csrf.encode("utf-8", "replace"), visitor.csrf.encode()):
            return False
        site = request.headers.getall("Sec-Fetch-Site", ())
        if site:
            return list(site) == ["same-origin"]
        origin = request.headers.getall(hdrs.ORIGIN, ())
        return len(origin) == 1 and origin[0] in self._origins(request, visitor)

    def _still_counts(self, session: Session, named: str | None) -> bool:
        """What the proxy in front vouched for, it must vouch for again."""
        return session.account == named if session.by_header else self._config.sign_in.passwords

    def _origins(self, request: web.Request, visitor: Visitor) -> set[str]:
        scheme = "https" if visitor.secure else "http"
        return {str(self._public_url.origin()), f"{scheme}://{request.host}"}

    def stranger(self, request: web.Request) -> Visitor:
        """Return what the request alone tells."""
        address = address_of(request, self._config.trusted_proxies)
        is_public_by_tls = self._public_url.scheme == "https"
        came_by_tls = request.secure or self._is_forwarded_from_tls(request)
        secure = is_public_by_tls or came_by_tls
        visit = Visit(
            address,
            browser=request.headers.get(hdrs.USER_AGENT, ""),
            device=_cookie(request, _DEVICE, secure=secure),
            request=make_request_id(),
        )
        is_local = address is None or address.is_loopback
        sheltered = came_by_tls or is_local or (is_public_by_tls and self._is_passed_on(request))
        return Visitor(visit, secure, sheltered)

    def _is_forwarded_from_tls(self, request: web.Request) -> bool:
        return request.headers.get("X-Forwarded-Proto", "").lower() == "https" and is_sent_by(
            request, self._config.trusted_proxies
        )

    def _is_passed_on(self, request: web.Request) -> bool:
        """Tell whether a proxy in front sent it: from this machine, or one that is named."""
        header = self._config.sign_in.header
        named = (*self._config.trusted_proxies, *(header.from_ if header else ()))
        return is_sent_by_socket(request) or is_sent_by(request, (*_LOOPBACK, *named))

    def _named_by_proxy(self, request: web.Request) -> str | None:
        """Return whom the single-sign-on proxy names; what anybody else says there is nothing."""
        header = self._config.sign_in.header
        if header is None or not is_sent_by(request, header.from_):
            return None
        names = request.headers.getall(header.name, ())
        return names[0] if len(names) == 1 and names[0] else None


def csrf_token_of(secret: str) -> str:
    """Return what the forms of a session carry: it can't be made without its cookie, nor tell it."""
    return digest_of(f"csrf {secret}").hex()


def _cookie(request: web.Request, name: str, *, secure: bool) -> str | None:
    """Return the cookie's value; None if it did not come, or came twice.

    Read as browsers write it (RFC 6265, 4.2.1) and no more leniently: a reader that ends a value at
    a space, or takes other white space than theirs away, finds `__Host-` cookies in what a
    neighbouring host has set.
    """
    full_name = _full_name(name, secure=secure)
    pairs = ";".join(request.headers.getall(hdrs.COOKIE, ())).split(";")
    values = [pair.strip(" \t").partition("=") for pair in pairs]
    found = [value for key, _, value in values if key == full_name]
    return found[0] if len(found) == 1 and found[0] else None


def _full_name(name: str, *, secure: bool) -> str:
    """Return the name with which only this host, by TLS, can have set it (RFC 6265bis, 4.1.3.2)."""
    return f"__Host-{name}" if secure else name
