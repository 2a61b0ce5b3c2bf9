"""May this push change its refs so: decided ref by ref, for all of them or for none."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

from gitpat_proxy.access.names import shown
from gitpat_proxy.access.policy import Attempt, Check, first_refusal, ref_checks
from gitpat_proxy.access.refs import Verb, verb_of
from gitpat_proxy.access.refusal import Code, Refusal, refuse
from gitpat_proxy.git.push import RefUpdate, is_ref_name, ref_text


class Problem(NamedTuple):
    """`rule`: what it rests on, as a Check's; `why` goes into a sentence."""

    rule: str
    why: str


RefProblem: TypeAlias = Callable[[bytes, bool], Problem | None]
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
    verb = verb_of(update.old, update.new)
    if refusal := first_refusal(change_checks(attempt, problem_of, update.ref, verb)):
        return RefDecision(refusal)
    return RefDecision(None, verb is Verb.UPDATE and _no_force(attempt, update.name) is not None)


def change_checks(
    attempt: Attempt, problem_of: RefProblem, ref: bytes, verb: Verb | None
) -> Iterator[Check]:
    """Yield what is looked at for a change of one ref, by a push for which any rule limits refs.

    `verb` None: the change is none. A problem with holding the ref to rules is a step only where there
    is one.
    """
    name = ref_text(ref)
    if verb is None or not is_ref_name(ref):
        what = f"{verb or 'change'} {shown(name)!r}"
        yield Check(what, "git", refuse(Code.REF_MALFORMED, ref=repr(shown(name))))
        return
    looked_at = list(ref_checks(attempt, name, verb))
    yield from looked_at
    if first_refusal(looked_at):
        return
    no_force = _no_force(attempt, name) if verb is Verb.UPDATE else None
    if problem := problem_of(ref, no_force is not None):
        who = f'token "{attempt.token.name}"'
        refusal = no_force or refuse(Code.REF_DENIED, who=who, verb=verb, ref=shown(name))
        refusal = replace(refusal, sentence=f"{_clause(refusal)}: {problem.why}.")
        yield Check(refusal.check or f"{verb} {name}", problem.rule, refusal)


def verdict_of(updates: Sequence[RefUpdate], decisions: Sequence[RefDecision]) -> Verdict:
    """Put the decisions together: one ref that is refused refuses them all."""
    only_forward = any(decision.only_forward for decision in decisions)
    refused = [place for place, decision in enumerate(decisions) if decision.refusal]
    if not refused:
        return Verdict(None, [], only_forward)
    others = f"not pushed because of {shown(updates[refused[0]].name)}"
    reasons = [_clause(d.refusal) if d.refusal else others for d in decisions]
    return Verdict(decisions[refused[0]].refusal, reasons, only_forward)


def _no_force(attempt: Attempt, name: str) -> Refusal | None:
    return first_refusal(ref_checks(attempt, name, Verb.FORCE))


def _clause(refusal: Refusal) -> str:
    """Return the sentence as git prints it, in parentheses."""
    return refusal.sentence.removesuffix(".")
