"""What a token is for."""

import re
from collections.abc import Iterable, Mapping

BUILT_IN: Mapping[str, str] = {
    "code:read": "Code (read): clone and fetch",
    "code:write": "Code (read and write): clone, fetch and push",
}
_IMPLIED: Mapping[str, frozenset[str]] = {"code:write": frozenset({"code:read"})}

# Names that the proxy gives a meaning of its own, now or in a later version.
_RESERVED = re.compile(r"(code|tokens):.*|admin")
_NAME = re.compile(r"[a-z][a-z0-9_.-]*(:[a-z][a-z0-9_.-]*)*")


def granted_by(scopes: Iterable[str]) -> frozenset[str]:
    """Return the scopes with those that they include."""
    return frozenset(scopes).union(*(_IMPLIED.get(scope, ()) for scope in scopes))


def catalogue_problem(name: str) -> str | None:
    """Say why the configuration's catalogue can't have a scope of this name; None if it can."""
    if _RESERVED.fullmatch(name):
        return f"{name} is a name that gitpat-proxy keeps for itself"
    if not _NAME.fullmatch(name):
        return f"{name!r} is no scope name; accepted: lower-case words joined by ':', as work_items:read"
    return None


def checked_scopes(scopes: Iterable[str], catalogue: Mapping[str, str]) -> frozenset[str]:
    """Return the scopes as a set; raise ValueError with a sentence if it is empty or one is unknown."""
    asked = frozenset(scopes)
    known = BUILT_IN.keys() | catalogue.keys()
    accepted = f"accepted: {', '.join(sorted(known))}"
    if not asked:
        raise ValueError(f"a token needs at least one scope; {accepted}")
    if unknown := sorted(asked - known):
        raise ValueError(f"unknown scope {', '.join(unknown)}; {accepted}")
    return asked
