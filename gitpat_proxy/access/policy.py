"""May this token, of this account, from this address, do this: the one place that decides."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple, Self

from gitpat_proxy.access.address import Address
from gitpat_proxy.access.model import Account, Network, Status, Token, lineage
from gitpat_proxy.access.names import shown
from gitpat_proxy.access.patterns import repository_patterns
from gitpat_proxy.access.refs import RefRule, Verb, first_match
from gitpat_proxy.access.refusal import Code, Refusal, refuse
from gitpat_proxy.access.rules import AccessRule
from gitpat_proxy.access.scopes import granted_by, withheld_from
from gitpat_proxy.git.operation import Operation


class Attempt(NamedTuple):
    """All that a decision rests on. `address` is None where a Unix socket brings no client's.

    `rules` are those that hold for the account; None: nothing limits what accounts may do.
    """

    operation: Operation
    token: Token
    account: Account
    address: Address | None
    now: datetime
    rules: tuple[AccessRule, ...] | None = None


class Permit(NamedTuple):
    """A permitted attempt: those that are like it need not be decided anew.

    `ends_at` is when the first of its tokens expires; None: never.
    """

    attempt: Attempt
    ends_at: datetime | None

    @classmethod
    def of(cls, attempt: Attempt) -> Self:
        """Return it for an attempt that `decide` permits."""
        return cls(attempt, attempt.token.ends_at)

    def covers(self, attempt: Attempt) -> bool:
        """Tell whether another is the very same, but later, and before the first of the ends."""
        earlier = self.attempt
        return (
            attempt.token is earlier.token
            and attempt.account is earlier.account
            and attempt.rules is earlier.rules
            and attempt.operation is earlier.operation
            and attempt.address is earlier.address
            and attempt.now >= earlier.now
            and (self.ends_at is None or attempt.now < self.ends_at)
        )


class Check(NamedTuple):
    """One step of a decision: what was looked at, by which rule, and the refusal if it said no.

    `rule` names the token's field, or where in the configuration the rule stands.
    """

    what: str
    rule: str
    refusal: Refusal | None = None


def decide(attempt: Attempt, missing_scope_status: int = 401) -> Refusal | None:
    """Return why the attempt is refused, None if it is permitted.

    The order is that of what the person should learn first: what no change of the token's scopes
    would help against comes before them.
    """
    return first_refusal(checks(attempt, missing_scope_status))


def checks(attempt: Attempt, missing_scope_status: int = 401) -> Iterator[Check]:
    """Yield all that is looked at, in its order; the first refusal is what holds."""
    token = attempt.token
    yield from _checks_of_admission(token, attempt.account, attempt.address, attempt.now)
    for each in lineage(token):
        yield _check_of_scope(attempt, each, missing_scope_status)
    for each in lineage(token):
        if each.repositories is not None:
            yield _check_of_repository(attempt, each, each.repositories)
    if attempt.rules is not None:
        yield from _checks_of_account(attempt, attempt.rules)


def ref_checks(attempt: Attempt, ref: str, verb: Verb) -> Iterator[Check]:
    """Yield what is looked at for one ref of a push that `checks` permits.

    `verb` is what its command does; an update that may turn out to be no fast-forward is asked about
    twice, as `update` and as `force`.
    """
    for each in lineage(attempt.token):
        if each.refs is not None:
            rule = first_match(each.refs, ref)
            yield _check_of_ref(f'token "{each.name}"', _field(each, "refs", rule), rule, ref, verb)
    if attempt.rules is None:
        return
    found = [(entry, first_match(entry.refs or (), ref)) for entry in _rules_for(attempt)]
    giving = [(e, match) for e, match in found if e.refs is None or (match and verb in match.verbs)]
    place = "no rule"
    for entry, match in (giving or found)[:1]:
        place = f"{entry.place}, refs" + (f": {match}" if match else "")
    refusal = None if giving else _ref_refusal(f"account {attempt.account.name}", ref, verb)
    yield Check(f"{verb} {ref}", place, refusal)


def limits_refs(attempt: Attempt) -> bool:
    """Tell whether any rule limits which refs the attempt may change, or how."""
    if any(token.refs is not None for token in lineage(attempt.token)):
        return True
    return attempt.rules is not None and all(r.refs is not None for r in _rules_for(attempt))


def decide_admission(
    token: Token, account: Account, address: Address | None, now: datetime
) -> Refusal | None:
    """Return why the token opens nothing at all from there at that time, None if it may."""
    return first_refusal(_checks_of_admission(token, account, address, now))


def decide_alive(token: Token, account: Account, now: datetime) -> Refusal | None:
    """Return why the token opens nothing at all at that time, None if it may open something."""
    return first_refusal(_checks_of_life(token, account, now))


def decide_going_on(token: Token, account: Account, now: datetime) -> Refusal | None:
    """Return why what is under way must end, None if it may go on: its use has been counted."""
    return decide_alive(without_limit_of_uses(token), account, now)


def without_limit_of_uses(token: Token) -> Token:
    """Return the token as it is when all uses that are taken have been given back."""
    parent = token.parent and without_limit_of_uses(token.parent)
    return replace(token, uses_left=None, parent=parent)


def grants_of(token: Token, account: Account) -> frozenset[str]:
    """Return all scopes that count now: what the account may not have any more does not."""
    granted = [granted_by(each.scopes) for each in lineage(token)]
    return frozenset.intersection(*granted) - withheld_from(account)


def first_refusal(checked: Iterable[Check]) -> Refusal | None:
    """Return the first refusal, which is the one that holds, with the step that it comes from."""
    refused = ((check, check.refusal) for check in checked if check.refusal)
    return next((replace(r, check=check.what, rule=check.rule) for check, r in refused), None)


def _checks_of_admission(
    token: Token, account: Account, address: Address | None, now: datetime
) -> Iterator[Check]:
    yield from _checks_of_life(token, account, now)
    for each in lineage(token):
        if each.addresses is not None:
            refusal = _refusal_by_address(each, each.addresses, address)
            yield Check("address", _field(each, "addresses"), refusal)


def _checks_of_life(token: Token, account: Account, now: datetime) -> Iterator[Check]:
    for each in lineage(token):
        yield Check("life", _field(each, "status"), _refusal_by_state(each, now))
    refusal = None
    if account.disabled_at is not None:
        refusal = refuse(Code.ACCOUNT_DISABLED, account=account.name, token=token.label)
    yield Check("account", f"account {account.name}, disabled_at", refusal)


def _refusal_by_state(token: Token, now: datetime) -> Refusal | None:
    match token.own_status(now):
        case Status.REVOKED:
            reason = f": {token.revoked_reason}" if token.revoked_reason else ""
            return refuse(
                Code.TOKEN_REVOKED, token=token.label, date=_time(token.revoked_at), reason=reason
            )
        case Status.EXPIRED if token.uses_left == 0:
            return used_up(token)
        case Status.EXPIRED:
            return refuse(Code.TOKEN_EXPIRED, token=token.label, date=_time(token.expires_at))
        case Status.PENDING:
            return refuse(Code.TOKEN_NOT_YET_VALID, token=token.label, date=_time(token.not_before))
        case Status.ACTIVE:
            return None


def used_up(token: Token) -> Refusal:
    """Return the refusal for a token that has no use left itself."""
    uses = "once" if token.uses == 1 else f"{token.uses} times"
    return refuse(Code.TOKEN_USED_UP, token=token.label, uses=uses)


def _refusal_by_address(
    token: Token, allowed: tuple[Network, ...], address: Address | None
) -> Refusal | None:
    if address and any(address in network for network in allowed):
        return None
    return refuse(Code.ADDRESS_DENIED, token=token.label, address=address or "of a local socket")


def _check_of_scope(attempt: Attempt, token: Token, missing_scope_status: int) -> Check:
    operation = attempt.operation
    refusal = None
    if operation.scope not in granted_by(token.scopes):
        refusal = refuse(
            Code.SCOPE_MISSING,
            status=missing_scope_status,
            token=token.label,
            token_id=token.id,
            scopes=", ".join(sorted(token.scopes)),
            service=operation.service or "the dumb protocol",
            needed=operation.scope,
        )
    return Check(f"scope {operation.scope}", _field(token, "scopes"), refusal)


def _check_of_repository(attempt: Attempt, token: Token, texts: tuple[str, ...]) -> Check:
    name = attempt.operation.repository
    deciding = repository_patterns(texts).deciding(name) if texts else None
    is_meant = deciding is not None and not deciding.startswith("!")
    return Check(
        f"repository {name}",
        _field(token, "repositories", deciding),
        None if is_meant else refuse(Code.REPOSITORY_NOT_FOUND, repository=name),
    )


def _checks_of_account(attempt: Attempt, rules: tuple[AccessRule, ...]) -> Iterator[Check]:
    operation, name = attempt.operation, attempt.operation.repository
    within = [rule for rule in rules if rule.repositories.include(name)]
    if not within:
        refusal = refuse(Code.REPOSITORY_NOT_FOUND, repository=name)
        yield Check(f"repository {name} for the account", "no rule", refusal)
        return
    yield Check(f"repository {name} for the account", within[0].place)
    giving = next((rule for rule in within if operation.scope in rule.gives), None)
    if giving:
        yield Check(f"{operation.scope} for the account", giving.place)
        return
    refusal = refuse(
        Code.ACCESS_DENIED,
        account=attempt.account.name,
        repository=name,
        service=operation.service,
        needed=operation.scope,
    )
    yield Check(f"{operation.scope} for the account", within[0].place, refusal)


def _rules_for(attempt: Attempt) -> list[AccessRule]:
    """Return those of the account's rules that let it push to the repository."""
    name = attempt.operation.repository
    return [
        rule
        for rule in attempt.rules or ()
        if "code:write" in rule.gives and rule.repositories.include(name)
    ]


def _check_of_ref(who: str, place: str, rule: RefRule | None, ref: str, verb: Verb) -> Check:
    is_allowed = rule is not None and verb in rule.verbs
    return Check(f"{verb} {ref}", place, None if is_allowed else _ref_refusal(who, ref, verb))


def _ref_refusal(who: str, ref: str, verb: Verb) -> Refusal:
    return refuse(Code.REF_DENIED, who=who, verb=verb, ref=shown(ref))


def _field(token: Token, field: str, value: object = None) -> str:
    return f"token {token.id}, {field}" + (f": {value}" if value is not None else "")


def _time(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else "never"
