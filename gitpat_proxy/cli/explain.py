"""`gitpat-proxy explain`: why an operation is, was or would be permitted or refused."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Annotated

import typer

from gitpat_proxy.access.explanation import Explanation, asked_object, explanation_object, verdict
from gitpat_proxy.access.model import EventKind
from gitpat_proxy.access.policy import Check
from gitpat_proxy.access.refusal import Code, refuse
from gitpat_proxy.access.representation import event_object, time_text
from gitpat_proxy.backends.http_backend import git_directory
from gitpat_proxy.cli.context import Json, Services, invocation_of
from gitpat_proxy.cli.output import print_json, print_object, print_table
from gitpat_proxy.config.model import Config
from gitpat_proxy.git.operation import Kind
from gitpat_proxy.routes import ref_problem, route_for
from gitpat_proxy.services.access import Access
from gitpat_proxy.services.clock import utc_now
from gitpat_proxy.services.errors import FactsError, ServiceError
from gitpat_proxy.services.explanations import Explanations, OperationAsked, RecordExplanation

_OPTIONS = {
    "repository": "--repository",
    "service": "--service",
    "ref": "--ref",
    "address": "--from",
    "at": "--at",
}


def explain(
    context: typer.Context,
    request: Annotated[
        str | None,
        typer.Argument(help="The request that git named when it was refused.", metavar="REQUEST-ID"),
    ] = None,
    token: Annotated[str | None, typer.Option(help="The token's id.", metavar="ID")] = None,
    repository: Annotated[str | None, typer.Option(help="As team/app.", metavar="REPOSITORY")] = None,
    service: Annotated[
        str | None,
        typer.Option(help="receive-pack (push), upload-pack (clone) or upload-archive.", metavar="S"),
    ] = None,
    ref: Annotated[
        str | None,
        typer.Option(
            help="What a push changes, as refs/heads/main or refs/heads/main=force.",
            metavar="REF[=VERB]",
        ),
    ] = None,
    address: Annotated[
        str | None, typer.Option("--from", help="The client's address.", metavar="ADDRESS")
    ] = None,
    at: Annotated[
        str | None, typer.Option(help="When: a date, a time, or 12h from now.", metavar="TIME")
    ] = None,
    as_json: Json = False,
) -> None:
    """Tell check by check, and by which rule, why an operation is, was or would be refused or not."""
    if request is None and token and repository and service:
        asked = OperationAsked(repository, service, ref, address, at)
        _explain_operation(context, token, asked, as_json=as_json)
    elif request is not None and not any((token, repository, service, ref, address, at)):
        _explain_request(context, request, as_json=as_json)
    else:
        raise typer.BadParameter("give --token, --repository and --service, or a request id alone")


def _explanations(services: Services) -> Explanations:
    return Explanations(
        services.database,
        services.tokens,
        Access(services.config),
        utc_now,
        services.config,
        partial(ref_problem, services.config.routes, looks_on_disk=True),
        looks_on_disk=True,
    )


def _explain_operation(
    context: typer.Context, token_id: str, asked: OperationAsked, *, as_json: bool
) -> None:
    invocation = invocation_of(context)
    try:
        found = invocation.run(lambda services: _explanations(services).of(token_id, asked))
    except FactsError as error:
        problems = [f"{_OPTIONS[field]}: {sentence}" for field, sentence in error.problems.items()]
        raise typer.BadParameter("; ".join(problems)) from None
    explanation = _with_route(found, invocation.config)
    if as_json:
        print_json(explanation_object(explanation))
    else:
        _print(explanation)
    if explanation.refusal:
        raise ServiceError(explanation.refusal.sentence)


def _explain_request(context: typer.Context, request_id: str, *, as_json: bool) -> None:
    invocation = invocation_of(context)
    found = invocation.run(lambda services: _explanations(services).of_request(request_id))
    now = found.now and _with_route(found.now, invocation.config)
    if as_json:
        record = event_object(found.row_id, found.event)
        print_json({"record": record, "now": now and explanation_object(now)})
        return
    _print_record(found)
    if now:
        print("\nThe same operation, decided by what holds now:\n")
        _print(now)


def _with_route(explanation: Explanation, config: Config) -> Explanation:
    """Add what the gate looks at after the policy and before git: the route, and what is on disk."""
    if explanation.refusal:
        return explanation
    return replace(explanation, checks=(*explanation.checks, *_checks_of_route(explanation, config)))


def _checks_of_route(explanation: Explanation, config: Config) -> Iterator[Check]:
    operation = explanation.attempt.operation
    missing = refuse(Code.REPOSITORY_NOT_FOUND, repository=operation.repository)
    found = route_for(config.routes, operation.path)
    if found is None:
        yield Check("route", "routes: none leads there", missing)
        return
    route, path = found
    place = f"routes: {route.path}"
    if operation.kind is Kind.DUMB and not route.dumb_protocol:
        yield Check("route", f"{place}, dumb_protocol", refuse(Code.DUMB_PROTOCOL_OFF))
        return
    yield Check("route", place)
    if route.repositories is not None:
        there = git_directory(route.repositories.resolve(), path)
        yield Check("on disk", f"{place}, repositories", None if there else missing)


def _print(explanation: Explanation) -> None:
    asked = asked_object(explanation)
    print_object(
        {
            "token": f"{explanation.attempt.token.label} of {asked['account']}",
            "asks": f"{asked['service'] or 'the dumb protocol'} on {asked['repository']}",
            "from": asked["address"] or "any address",
            "at": asked["at"],
        }
    )
    print()
    checks = [*explanation.checks, *(check for each in explanation.refs for check in each.checks)]
    print_table(["check", "rule", "outcome"], map(_row, checks))
    print(f"\n{verdict(explanation)}")
    for note in explanation.notes:
        print(f"Note: {note}.")


def _print_record(found: RecordExplanation) -> None:
    event, details = found.event, found.event.details
    code = f": {details['code']}" if "code" in details else ""
    about = {"check": details.get("check"), "rule": details.get("rule")}
    if event.kind is EventKind.REFUSED and not about["rule"]:
        about = {"rule": "none: the policy did not refuse it"}
    print_object(
        {
            "request": event.request,
            "at": time_text(event.at),
            "token": event.token,
            "account": event.account,
            "from": event.address,
            "repository": event.repository,
            "service": details.get("service"),
            "outcome": f"{event.event}{code}",
            **{name: value for name, value in about.items() if value},
        }
    )


def _row(check: Check) -> dict[str, object]:
    outcome = f"refused: {check.refusal.code.value}" if check.refusal else "permitted"
    return {"check": check.what, "rule": check.rule, "outcome": outcome}
