"""A decision, told step by step: what was looked at, by which rule, and what came of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from gitpat_proxy.access.address import address_text
from gitpat_proxy.access.model import lineage
from gitpat_proxy.access.policy import (
    Attempt,
    Check,
    checks,
    first_refusal,
    limits_refs,
    ref_checks,
)
from gitpat_proxy.access.push import RefProblem, change_checks
from gitpat_proxy.access.refs import Verb
from gitpat_proxy.access.refusal import Refusal
from gitpat_proxy.access.representation import time_text
from gitpat_proxy.git.operation import Service
from gitpat_proxy.git.push import ref_of_text

Change: TypeAlias = tuple[str, Verb | None]
"""A ref, and what is done to it; None: nothing is made of nothing."""


@dataclass(frozen=True)
class RefExplanation:
    """What was looked at for one change of one ref; `verb` None: the change is none."""

    ref: str
    verb: Verb | None
    checks: tuple[Check, ...]

    @property
    def refusal(self) -> Refusal | None:
        return first_refusal(self.checks)


@dataclass(frozen=True)
class Explanation:
    """All that was looked at, in its order, and the verdict; `notes` are what limits it.

    `refs` are looked at only where `checks` permit; with `any_ref` one of them that is permitted will
    do. With `any_address` no address was asked about.
    """

    attempt: Attempt
    checks: tuple[Check, ...]
    refs: tuple[RefExplanation, ...] = ()
    notes: tuple[str, ...] = ()
    any_address: bool = False
    any_ref: bool = False

    @property
    def refusal(self) -> Refusal | None:
        """Return why it is refused; None: it is permitted."""
        refused = [ref.refusal for ref in self.refs if ref.refusal]
        if self.any_ref and len(refused) < len(self.refs):
            refused = []
        return first_refusal(self.checks) or next(iter(refused), None)


def explain(
    attempt: Attempt,
    missing_scope_status: int,
    problem_of: RefProblem,
    changes: Sequence[Change] = (),
    *,
    any_address: bool = False,
) -> Explanation:
    """Tell the steps of the one decision (`access.policy`), and for a push those for its refs
    (`access.push`).

    With `any_address` no address is asked about: what is said of it does not count.
    """
    looked_at = tuple(
        check
        for check in checks(attempt, missing_scope_status)
        if not any_address or check.what != "address"
    )
    notes = []
    if any_address and any(token.addresses is not None for token in lineage(attempt.token)):
        notes.append("the token is limited to some addresses, and none was asked about")
    refs: tuple[RefExplanation, ...] = ()
    if attempt.operation.service is Service.RECEIVE_PACK and first_refusal(looked_at) is None:
        refs = tuple(
            RefExplanation(ref, verb, tuple(_checks_of(attempt, problem_of, ref, verb)))
            for ref, verb in changes
        )
        if not changes and limits_refs(attempt):
            notes.append("which refs may be changed is limited, and none was asked about")
    return Explanation(attempt, looked_at, refs, tuple(notes), any_address)


def _checks_of(attempt: Attempt, problem_of: RefProblem, ref: str, verb: Verb | None) -> Iterator[Check]:
    """As the gate: where no rule limits refs, it leaves them to git."""
    if limits_refs(attempt):
        return change_checks(attempt, problem_of, ref_of_text(ref), verb)
    return ref_checks(attempt, ref, verb) if verb else iter(())


def explanation_object(explanation: Explanation) -> dict[str, object]:
    """Return an explanation as plain JSON data: the same for every face."""
    return {
        "asked": asked_object(explanation),
        **_outcome(explanation.refusal),
        "status": explanation.refusal and explanation.refusal.status,
        "checks": [_check_object(check) for check in explanation.checks],
        "refs": [
            {
                "ref": each.ref,
                "verb": each.verb,
                **_outcome(each.refusal),
                "checks": [_check_object(check) for check in each.checks],
            }
            for each in explanation.refs
        ],
        "notes": list(explanation.notes),
    }


def asked_object(explanation: Explanation) -> dict[str, object]:
    """Return what is explained; `address` None: any."""
    attempt = explanation.attempt
    return {
        "token": attempt.token.id,
        "account": attempt.account.name,
        "repository": attempt.operation.repository,
        "service": attempt.operation.service,
        "address": None if explanation.any_address else address_text(attempt.address),
        "at": time_text(attempt.now),
    }


def verdict(explanation: Explanation) -> str:
    """Return what comes of it, as a sentence; of a refusal the one that git prints."""
    if explanation.refusal:
        return f"Refused: {explanation.refusal.sentence}"
    if not explanation.any_ref:
        return "Permitted."
    may = [str(each.verb) for each in explanation.refs if not each.refusal]
    may_not = [str(each.verb) for each in explanation.refs if each.refusal]
    but = f", but not {' or '.join(may_not)}" if may_not else ""
    return f"Permitted: it may {' or '.join(may)} {explanation.refs[0].ref}{but}."


def _check_object(check: Check) -> dict[str, object]:
    return {"check": check.what, "rule": check.rule, **_outcome(check.refusal)}


def _outcome(refusal: Refusal | None) -> dict[str, object]:
    return {
        "permitted": refusal is None,
        "code": refusal and refusal.code.value,
        "sentence": refusal and refusal.sentence,
    }
