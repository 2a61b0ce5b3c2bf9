"""What pages say: times, browsers, events, what was done. Pure functions from data to English."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from gitpat_proxy.access.model import AuditEvent
from gitpat_proxy.access.refs import Verb

_STEPS = (
    (timedelta(days=730), timedelta(days=365), "years"),
    (timedelta(days=60), timedelta(days=30), "months"),
    (timedelta(days=2), timedelta(days=1), "days"),
    (timedelta(minutes=90), timedelta(hours=1), "hours"),
    (timedelta(minutes=2), timedelta(minutes=1), "minutes"),
)


def date_text(moment: datetime) -> str:
    """Return the day, in UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%d}"


def moment_text(moment: datetime) -> str:
    """Return day and minute, in UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def relative_text(moment: datetime, now: datetime) -> str:
    """Return how far away a moment is: `3 hours ago`, `in 12 days`."""
    distance = abs(moment - now)
    for least, unit, name in _STEPS:
        if distance >= least:
            words = f"{round(distance / unit)} {name}"
            return f"in {words}" if moment > now else f"{words} ago"
    return "in a minute" if moment > now else "just now"


_BROWSERS = (
    ("Edg", "Edge"),
    ("OPR", "Opera"),
    ("Firefox", "Firefox"),
    ("Chrome", "Chrome"),
    ("Safari", "Safari"),
)
_SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)


def browser_text(user_agent: str) -> str:
    """Return what a person recognizes of a User-Agent: `Firefox on Linux`."""
    browser = next((name for mark, name in _BROWSERS if mark in user_agent), "A browser")
    system = next((name for mark, name in _SYSTEMS if mark in user_agent), None)
    return f"{browser} on {system}" if system else browser


_EVENTS = {
    "clone": "Cloned",
    "fetch": "Fetched",
    "archive": "Downloaded an archive",
    "token_created": "Token created",
    "token_derived": "Token derived",
    "token_edited": "Token edited",
    "token_rotated": "Token regenerated",
    "token_revoked": "Token revoked",
    "account_added": "Account added",
    "account_disabled": "Account disabled",
    "account_enabled": "Account enabled",
    "account_edited": "Account edited",
    "password_set": "Password set by an administrator",
    "password_changed": "Password changed",
    "password_imported": "Password imported",
    "password_confirmed": "Password confirmed",
    "signed_in": "Signed in",
    "signed_out": "Signed out",
    "sign_in_failed": "Sign-in failed",
    "session_ended": "Session ended",
    "events_lost": "Events lost",
}
_REFUSALS = {
    "token_expired": "the token has expired",
    "token_revoked": "the token is revoked",
    "token_not_yet_valid": "the token is not valid yet",
    "token_used_up": "the token has no use left",
    "account_disabled": "the account is disabled",
    "address_denied": "the token may not be used from there",
    "scope_missing": "a scope is missing",
    "repository_not_found": "no such repository",
    "access_denied": "the account may not do that there",
    "ref_denied": "the ref may not be changed so",
    "dumb_protocol_off": "the dumb protocol is off",
    "service_off": "the repository does not allow it",
    "busy": "too many operations at once",
    "upstream_failed": "the server behind failed",
    "upstream_timeout": "the server behind did not answer",
}


_SERVICES = {
    "git-upload-pack": "Clone or fetch",
    "git-receive-pack": "Push",
    "git-upload-archive": "Archive",
    "api": "Over the API",
}


def service_title(service: str | None) -> str:
    """Return what one of Git's services is called; None is the dumb protocol."""
    return _SERVICES.get(service or "", "Dumb protocol")


_CHECKS = {
    "life": "It is valid at that time",
    "account": "Its account is enabled",
    "address": "It may be used from that address",
    "scope": "{} has the scope {}",
    "repository": "{} reaches {}",
    **dict.fromkeys(["change", *Verb], "{} may {what}"),
}
_OF_ACCOUNT = " for the account"


def check_title(what: str) -> str:
    """Return what a step of a decision looks at, as a sentence that it finds right or wrong."""
    whose = "Its account" if what.endswith(_OF_ACCOUNT) else "It"
    what = what.removesuffix(_OF_ACCOUNT)
    word, _, rest = what.partition(" ")
    return _CHECKS.get(word, "{} has {what}").format(whose, rest, what=what)


_FACTS = {
    "administrator": "Administrator",
    "name": "Name",
    "scopes": "Scopes",
    "repositories": "Repositories",
    "refs": "Refs",
    "addresses": "Addresses",
    "uses": "Uses",
    "not_before": "Valid from",
    "expires_at": "Expires",
}
_MISSING = {
    **dict.fromkeys(("repositories", "refs", "addresses", "uses"), "any"),
    "not_before": "at once",
    "expires_at": "never",
}


def fact_title(fact: str) -> str:
    """Return what a token's fact is called."""
    return _FACTS.get(fact, fact)


def fact_text(fact: str, value: object) -> str:
    """Return a token's fact, as the audit has it, as people read it."""
    if value is None:
        return _MISSING.get(fact, "none")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return moment_text(datetime.fromisoformat(str(value))) if fact in _TIMES else str(value)


_TIMES = {"not_before", "expires_at"}


def outcome_text(old: str, new: str, outcome: str) -> str:
    """Return what became of a ref: object ids of zeros stand for none (gitprotocol-pack)."""
    if outcome != "ok":
        return {"ng": "refused"}.get(outcome, outcome)
    if not old.strip("0"):
        return "created"
    return "updated" if new.strip("0") else "deleted"


def event_title(event: AuditEvent) -> str:
    """Return what happened, in a few words."""
    details: Mapping[str, Any] = event.details
    if event.event == "push":
        number = len(details.get("updates", ())) + details.get("updates_more", 0)
        title = f"Pushed {number} {'ref' if number == 1 else 'refs'}"
    elif event.event == "refused":
        code = str(details.get("code"))
        title = f"Refused: {_REFUSALS.get(code, code.replace('_', ' '))}"
    else:
        title = _EVENTS.get(event.event, event.event.replace("_", " ").capitalize())
    return f"{title} (broken off)" if details.get("aborted") else title


def event_sentence(event: AuditEvent) -> str | None:
    """Return what more there is to say: the reason, or who did it if it was somebody else."""
    parts = []
    if isinstance(service := event.details.get("service"), str):
        parts.append(_SERVICES.get(service, service))
    if event.event != "refused" and (code := event.details.get("code")):
        parts.append(f"Ended: {_REFUSALS.get(str(code), code)}")
    if rule := event.details.get("rule"):
        parts.append(f"Rule: {rule}")
    if reason := event.details.get("reason"):
        parts.append(f"Reason: {reason}")
    if lost := event.details.get("events"):
        parts.append(f"Not written when a process of the proxy ended: {lost}")
    by = event.details.get("by")
    if by and by != event.account:
        parts.append(f"By {by}")
    return ". ".join(parts) or None


def sentence_of(words: str) -> str:
    """Return the words as a sentence."""
    return f"{words[:1].upper()}{words[1:].rstrip('.')}."


def sentences_of(problems: Mapping[str, str]) -> dict[str, str]:
    """Return what is wrong with which field, as sentences.

    What is accepted stands on the page already, and often in another form than it is typed in.
    """
    return {name: sentence_of(words.partition("; accepted:")[0]) for name, words in problems.items()}


@dataclass(frozen=True)
class Notice:
    """What the page before did."""

    kind: str
    text: str


NOTICES = {
    "saved": Notice("success", "Saved. The next request is judged by what holds now."),
    "revoked": Notice("success", "Revoked. The token opens nothing any more."),
    "revoked_all": Notice("success", "All your tokens are revoked. They open nothing any more."),
    "shown": Notice("warning", "The secret of this token was shown once. Regenerate it if it is lost."),
    "password": Notice("success", "The password is changed, and your other sessions have ended."),
    "password_set": Notice("success", "The password is set, and the account's sessions have ended."),
    "ended": Notice("success", "The session has ended."),
    "saved_account": Notice("success", "Saved. It holds from the next request on."),
    "added": Notice("success", "The account is there."),
    "disabled": Notice("success", "Disabled. Its tokens and sessions open nothing any more."),
    "enabled": Notice("success", "Enabled. Its tokens that had not ended work again."),
    "signed_out": Notice("success", "You are signed out."),
}
