"""What a token is for."""

import re
from collections.abc import Collection, Iterable, Mapping

from gitpat_proxy.access.model import Account

BUILT_IN: Mapping[str, str] = {
    "code:read": "Code (read): clone and fetch",
    "code:write": "Code (read and write): clone, fetch and push",
    "tokens:read": "Tokens (read): list your tokens and see what they did",
    "tokens:write": "Tokens (read and write): make, change and revoke tokens, none of which "
    "may do more than this one",
    "tokens:delegate": "Tokens (derive): make tokens for a shorter time or a smaller task, which end "
    "with this one",
    "tokens:introspect": "Introspection: ask whether a token is valid, for the services behind",
    "admin": "Administration: see and revoke everybody's tokens, see what everybody did",
}
_IMPLIED: Mapping[str, frozenset[str]] = {
    "code:write": frozenset({"code:read"}),
    "tokens:write": frozenset({"tokens:read"}),
}

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


def scopes_of(account: Account, catalogue: Mapping[str, str]) -> dict[str, str]:
    """Return the scopes that tokens of an account may have, with their descriptions."""
    withheld = withheld_from(account)
    return {name: text for name, text in {**BUILT_IN, **catalogue}.items() if name not in withheld}


def withheld_from(account: Account) -> frozenset[str]:
    """Return the scopes that count for nothing in a token of this account, whatever it has."""
    of_administrators = () if account.administrator else ("admin",)
    of_services = () if account.service else ("tokens:introspect",)
    return frozenset((*of_administrators, *of_services))


def checked_scopes(scopes: Iterable[str], known: Collection[str]) -> frozenset[str]:
    """Return the scopes as a set; raise ValueError with a sentence if it is empty or one is unknown."""
    asked = frozenset(scopes)
    accepted = f"accepted: {', '.join(sorted(known))}"
    if not asked:
        raise ValueError(f"a token needs at least one scope; {accepted}")
    if unknown := sorted(asked - set(known)):
        if withheld := [scope for scope in unknown if scope in BUILT_IN]:
            raise ValueError(f"{', '.join(withheld)} is not for this account; {accepted}")
        raise ValueError(
            f"unknown scope {', '.join(unknown)}; {accepted}; those who run the proxy name "
            "more under `scopes` in its configuration"
        )
    return asked
