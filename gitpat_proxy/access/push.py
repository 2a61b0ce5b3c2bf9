"""May this push change its refs so: decided ref by ref, for all of them or for none."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from gitpat_proxy.access.names import shown
from gitpat_proxy.access.policy import Attempt, first_refusal, ref_checks
from gitpat_proxy.access.refs import Verb
from gitpat_proxy.access.refusal import Code, Refusal, refuse
from gitpat_proxy.git.push import RefUpdate, is_ref_name

RefProblem: TypeAlias = Callable[[bytes, bool], str | None]
"""Says why a ref can't be held to rules where the repository lies, None if it can.

The second argument: it may be updated and not forced, so that a fast-forward has to be told.
"""


@dataclass(frozen=True, slots=True)
class RefDecision:
    """`only_forward`: the update is permitted as a fast-forward alone."""

    refusal: Refusal | None
    only_forward: bool = False


@dataclass(frozen=True)
class Verdict:
    """What holds for a whole push; `reasons` are there for each of its refs if it is refused."""

    refusal: Refusal | None
    reasons: list[str]
    only_forward: bool


def decide_ref(attempt: Attempt, problem_of: RefProblem, update: RefUpdate) -> RefDecision:
    """Decide one command of a push that `decide` permits."""
    verb = _verb_of(update)
    if verb is None or not is_ref_name(update.ref):
        return RefDecision(refuse(Code.REF_MALFORMED, ref=repr(shown(update.name))))
    if refusal := _refusal(attempt, update, verb):
        return RefDecision(refusal)
    no_force = _refusal(attempt, update, Verb.FORCE) if verb is Verb.UPDATE else None
    if problem := problem_of(update.ref, no_force is not None):
        who = f'token "{attempt.token.name}"'
        refusal = no_force or refuse(Code.REF_DENIED, who=who, verb=verb, ref=shown(update.name))
        return RefDecision(replace(refusal, sentence=f"{_clause(refusal)}: {problem}."))
    return RefDecision(None, no_force is not None)


def verdict_of(updates: Sequence[RefUpdate], decisions: Sequence[RefDecision]) -> Verdict:
    """Put the decisions together: one ref that is refused refuses them all."""
    only_forward = any(decision.only_forward for decision in decisions)
    refused = [place for place, decision in enumerate(decisions) if decision.refusal]
    if not refused:
        return Verdict(None, [], only_forward)
    others = f"not pushed because of {shown(updates[refused[0]].name)}"
    reasons = [_clause(d.refusal) if d.refusal else others for d in decisions]
    return Verdict(decisions[refused[0]].refusal, reasons, only_forward)


def _verb_of(update: RefUpdate) -> Verb | None:
    """Return what the command does; whether an update is forced shows only in the history."""
    if update.creates:
        return None if update.deletes else Verb.CREATE
    return Verb.DELETE if update.deletes else Verb.UPDATE


def _refusal(attempt: Attempt, update: RefUpdate, verb: Verb) -> Refusal | None:
    return first_refusal(ref_checks(attempt, update.name, verb))


def _clause(refusal: Refusal) -> str:
    """Return the sentence as git prints it, in parentheses."""
    return refusal.sentence.removesuffix(".")
