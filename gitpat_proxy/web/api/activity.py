"""What tokens did, over the API."""

from datetime import datetime

from gitpat_proxy.access.lifetime import beginning_of, duration_of
from gitpat_proxy.access.model import AuditFilter
from gitpat_proxy.access.representation import event_object
from gitpat_proxy.git.operation import typed_repository
from gitpat_proxy.services import audit
from gitpat_proxy.web.api import answers, models
from gitpat_proxy.web.api.call import Answer, Call
from gitpat_proxy.web.api.cursor import place_of
from gitpat_proxy.web.api.problem import invalid
from gitpat_proxy.web.api.tokens import account_of
from gitpat_proxy.web.cursor import cursor_text, read_row_cursor

_MOST_REFS = 100


async def activity(call: Call[models.ActivityList, models.Nothing, None]) -> Answer:
    """Return events, the newest first.

    To a token that is no administrator's only those of tokens: from where a person signs in is not
    for programs.
    """
    query = call.query
    wanted = AuditFilter(
        since=_since(query.since, call.now),
        token=query.token,
        account=account_of(call),
        repository=typed_repository(query.repository),
        kind=query.only,
        address=query.address,
        request=query.request,
    )
    before = place_of(query.cursor, read_row_cursor)
    rows, place = await audit.page(call.parts.database, wanted, before, query.limit, _MOST_REFS)
    whole = call.caller.token is None or call.caller.may("admin")
    items = [
        answers.Event.model_validate(event_object(row_id, event) | {"kind": event.kind.value})
        for row_id, event in rows
        if whole or event.token is not None
    ]
    return Answer(200, answers.Events(items=items, next=cursor_text(*place) if place else None))


def _since(text: str | None, now: datetime) -> datetime | None:
    """Read how long ago, a date, or a time."""
    if text is None:
        return None
    try:
        return now - duration_of(text)
    except OverflowError:
        raise invalid({"since": f"{text!r} is too long ago"}, status=400) from None
    except ValueError:
        pass
    try:
        return beginning_of(text, now)
    except ValueError as error:
        raise invalid({"since": str(error)}, status=400) from None
