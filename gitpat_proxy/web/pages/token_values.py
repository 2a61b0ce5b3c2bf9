"""What the form of a token holds: as it comes in, as it is offered, and as the services take it."""

from dataclasses import dataclass

from multidict import MultiMapping

from gitpat_proxy.access.model import Token
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


def values_in(form: Form) -> TokenValues:
    """Return what came with the form."""
    return TokenValues(
        form.text("name"), form.text("expires"), form.text("date"), frozenset(form.texts("scope"))
    )


def values_offered(query: MultiMapping[str]) -> TokenValues:
    """Return what the address asks for: a link may offer a form that is filled in."""
    return TokenValues(
        query.get("name", ""),
        query.get("expires", ""),
        query.get("date", ""),
        frozenset(query.getall("scope", ())),
    )


def values_of(token: Token) -> TokenValues:
    """Return what the form is filled in with to edit a token."""
    return TokenValues(token.name, "keep", "", token.scopes)


def facts_of(values: TokenValues) -> TokenFacts:
    """Return what is asked for, as the services take it."""
    expires = values.date.strip() if values.expires == "date" else values.expires
    return TokenFacts(
        name=values.name,
        scopes=sorted(values.scopes),
        expires=None if values.expires == "keep" else expires,
    )


def sentences_by_field(error: FactsError) -> dict[str, str]:
    """Return the sentences by the names that the form's fields have."""
    fields = {"scopes": "scope"}
    return {fields.get(name, name): text for name, text in sentences_of(error.problems).items()}
