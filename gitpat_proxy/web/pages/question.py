"""What is asked before something ends: a page, which the script shows as a dialog."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aiohttp import web

from gitpat_proxy.web.pages.frame import Page


@dataclass(frozen=True)
class Question:
    """Shall this be done? `points` say what it means; where `reason` is set one may be given."""

    section: str
    title: str
    lead: str
    points: Sequence[str]
    action: str
    back_url: str
    button: str
    reason: bool = False
    errors: Mapping[str, str] = field(default_factory=dict)


def ask(page: Page, question: Question) -> web.Response:
    """Answer with the question, and with the reason as it was typed if that can't be used."""
    given = page.form.text("reason")
    return page.render(
        "confirm_action.html", 422 if question.errors else 200, given=given, **vars(question)
    )
