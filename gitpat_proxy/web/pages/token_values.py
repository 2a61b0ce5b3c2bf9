"""What the form of a token holds: as it comes in, as it is offered, and as the services take it."""

from dataclasses import dataclass
from typing import Any

from multidict import MultiMapping

from gitpat_proxy.access.model import Token
from gitpat_proxy.access.representation import address_texts, ref_texts, time_text
from gitpat_proxy.services.errors import FactsError
from gitpat_proxy.services.token_facts import TokenFacts
from gitpat_proxy.web.pages.forms import Form
from gitpat_proxy.web.pages.words import sentences_of


@dataclass(frozen=True)
class TokenValues:
    """What a person typed and ticked."""

    name: str
    expires: str
    date: str
    scopes: frozenset[str]
    repositories: str = ""
    refs: str = ""
    addresses: str = ""
    uses: str = ""
    not_before: str = ""

    @property
    def has_limits(self) -> bool:
        return any(getattr(self, name) for name in LIMITS)


LIMITS = ("repositories", "refs", "addresses", "uses", "not_before")
"""The fields that are empty where there is no limit."""
_LISTS = {"repositories", "refs", "addresses"}


def values_in(form: Form) -> TokenValues:
    """Return what came with the form."""
    return TokenValues(
        form.text("name"),
        form.text("expires"),
        form.text("date"),
        frozenset(form.texts("scope")),
        **{name: form.text(name) for name in LIMITS},
    )


def values_offered(query: MultiMapping[str]) -> TokenValues:
    """Return what the address asks for: a link may offer a form that is filled in."""
    return TokenValues(
        query.get("name", ""),
        query.get("expires", ""),
        query.get("date", ""),
        frozenset(query.getall("scope", ())),
        **{name: query.get(name, "") for name in LIMITS},
    )


def values_of(token: Token) -> TokenValues:
    """Return what the form is filled in with to edit a token."""
    return TokenValues(
        token.name,
        "keep",
        "",
        token.scopes,
        repositories="\n".join(token.repositories or ()),
        refs="\n".join(ref_texts(token) or ()),
        addresses="\n".join(address_texts(token) or ()),
        uses="" if token.uses is None else str(token.uses),
        not_before=time_text(token.not_before) or "",
    )


def facts_of(values: TokenValues, before: TokenValues | None = None) -> TokenFacts:
    """Return what is asked for, as the services take it; of limits only what is not as it was.

    A number of uses that is set again would begin to count again.
    """
    texts = {name: (getattr(values, name), getattr(before, name, "")) for name in LIMITS}
    limits: dict[str, Any] = {
        name: _limit(name, text) for name, (text, old) in texts.items() if text.split() != old.split()
    }
    expires = values.date.strip() if values.expires == "date" else values.expires
    return TokenFacts(
        name=values.name,
        scopes=sorted(values.scopes),
        expires=None if values.expires == "keep" else expires,
        **limits,
    )


def _limit(name: str, text: str) -> str | list[str]:
    """Return a limit as it is typed: in lists what stands between spaces or ends of lines."""
    words = text.split()
    return (words or ["any"]) if name in _LISTS else (" ".join(words) or "any")


def sentences_by_field(error: FactsError) -> dict[str, str]:
    """Return the sentences by the names that the form's fields have."""
    fields = {"scopes": "scope"}
    return {fields.get(name, name): text for name, text in sentences_of(error.problems).items()}
