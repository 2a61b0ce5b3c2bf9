"""`gitpat-proxy explain`: the steps, the verdict, and the exit code."""

import json
from pathlib import Path

import pytest

from gitpat_proxy.access.model import AuditEvent, Token
from gitpat_proxy.cli.context import Services
from gitpat_proxy.services.audit import Recorder
from tests.access.examples import NOW
from tests.cli.program import run, run_each
from tests.support.git import Git, make_repository
from tests.support.proxy import Proxy

CLONE = ("--repository", "team/app", "--service", "upload-pack")
PUSH = ("--repository", "team/app", "--service", "receive-pack")
REQUEST = "abcdef012345"


@pytest.fixture
def served(proxy: Proxy) -> Proxy:
    make_repository(proxy.repositories / "team" / "app.git", commits=1)
    return proxy


def refused(token: Token) -> AuditEvent:
    rule = f"token {token.id}, scopes"
    details = {"code": "scope_missing", "service": "git-receive-pack", "check": "scope code:write"}
    where = ("team/app", "192.0.2.7", REQUEST)
    return AuditEvent(NOW, "refused", token.account, token.id, *where, details | {"rule": rule})


def record(proxy: Proxy, event: AuditEvent) -> None:
    async def action(services: Services) -> None:
        recorder = Recorder(services.database)
        recorder.event(event)
        await recorder.flush()

    proxy.services(action)


def test_for_people(served: Proxy) -> None:
    _, token = served.make_token("code:read")
    asked = ("explain", "--token", token.id)
    may, may_not = run_each(served, [(*asked, *CLONE), (*asked, *PUSH)])
    assert (may.code, may.err) == (0, "")
    lines = may.out.splitlines()
    assert lines[:3] == [
        f'token: "Test" ({token.id}) of alice',
        "asks:  git-upload-pack on team/app",
        "from:  any address",
    ]
    assert [line.split()[-1] for line in lines if "permitted" in line] == ["permitted"] * 5
    assert lines[-1] == "Permitted."

    sentence = (
        f'The token "Test" ({token.id}) has the scope code:read, but git-receive-pack needs code:write.'
    )
    assert (may_not.code, may_not.err) == (1, f"gitpat-proxy: {sentence}\n")
    lines = may_not.out.splitlines()
    [line] = [line for line in lines if "refused:" in line]
    assert line.split() == f"scope code:write token {token.id}, scopes refused: scope_missing".split()
    assert lines[-1] == f"Refused: {sentence}"


def test_as_json(served: Proxy) -> None:
    _, token = served.make_token("code:write", addresses=["192.0.2.0/24"])
    asked = ("explain", "--json", "--token", token.id, *PUSH)
    found = run(served, *asked, "--ref", "refs/heads/main", "--from", "192.0.2.7").json
    assert found["permitted"]
    assert found["asked"]["address"] == "192.0.2.7"
    assert [check["check"] for check in found["checks"]] == [
        *["life", "account", "address", "scope code:write", "route", "on disk"],
    ]
    assert [each["verb"] for each in found["refs"]] == ["create", "update", "force", "delete"]


def test_the_address_and_the_moment_count(served: Proxy) -> None:
    _, token = served.make_token("code:read", addresses=["192.0.2.0/24"], expires="30d")
    asked = ("explain", "--token", token.id, *CLONE)
    outside, late = run_each(
        served, [(*asked, "--from", "203.0.113.9"), (*asked, "--from", "192.0.2.7", "--at", "40d")]
    )
    assert (outside.code, late.code) == (1, 1)
    assert "may not be used from the address 203.0.113.9." in outside.err
    assert "expired on" in late.err


def test_what_comes_after_the_policy_is_told_as_far_as_it_can_be(tmp_path: Path, proxy: Proxy) -> None:
    del tmp_path
    proxy.config_file.write_text(
        "routes:\n"
        "  - {path: /here, repositories: repositories}\n"
        "  - {path: /there, upstream: 'http://127.0.0.1:9/'}\n"
    )
    _, token = proxy.make_token("code:read")
    asked = ("explain", "--json", "--token", token.id, "--service", "upload-pack", "--repository")
    runs = run_each(proxy, [(*asked, name) for name in ("nowhere/app", "here/app", "there/app")])
    assert [found.code for found in runs] == [1, 1, 0]
    for found, rule in zip(
        runs,
        ["routes: none leads there", "routes: /here, repositories", "routes: /there"],
        strict=True,
    ):
        assert f'"rule": "{rule}"' in found.out
    assert runs[0].err == "gitpat-proxy: There is no repository nowhere/app that this token reaches.\n"


def test_a_request(served: Proxy) -> None:
    _, token = served.make_token("code:read")
    record(served, refused(token))
    found = run(served, "explain", REQUEST)
    assert (found.code, found.err) == (0, "")
    assert f"request:    {REQUEST}\n" in found.out
    assert "at:         2026-03-14T15:09:26Z\n" in found.out
    assert "outcome:    refused: scope_missing\n" in found.out
    assert f"rule:       token {token.id}, scopes\n" in found.out
    assert "The same operation, decided by what holds now:" in found.out
    assert "Refused: The token " in found.out

    served.ok("token", "edit", token.id, "--scope", "code:write")
    found = run(served, "explain", REQUEST, "--json").json
    assert found["record"]["details"]["rule"] == f"token {token.id}, scopes"
    assert found["now"]["permitted"]


def test_a_request_that_no_rule_refused(served: Proxy) -> None:
    _, token = served.make_token("code:read")
    event = AuditEvent(
        NOW, "refused", "alice", token.id, "team/app", "192.0.2.7", REQUEST, {"code": "busy"}
    )
    record(served, event)
    assert "rule:       none: the policy did not refuse it\n" in run(served, "explain", REQUEST).out


def test_a_request_that_is_not_in_the_audit(proxy: Proxy) -> None:
    sentence = run(proxy, "explain", REQUEST).refusal
    assert sentence == (
        f"the audit has nothing of the request {REQUEST}; it keeps what was done, or refused, with a "
        f"token that is known; the log tells of every request: look there for {REQUEST}"
    )


def test_what_is_not_there(proxy: Proxy) -> None:
    missing = run(proxy, "explain", "--token", "babab-babab", *CLONE).refusal
    assert missing == "there is no token babab-babab; `token list --status all` shows them"


def test_wrong_usage(proxy: Proxy) -> None:
    _, token = proxy.make_token("code:read")
    asked = ("explain", "--token", token.id)
    cases = {
        ("explain",): "give --token, --repository and --service, or a request id alone",
        ("explain", REQUEST, "--from", "192.0.2.7"): "or a request id alone",
        (*asked, "--repository", "app"): "give --token, --repository and --service",
        (*asked, *CLONE, "--ref", "refs/heads/main"): "--ref: a ref is asked about with receive-pack",
        (*asked, *CLONE, "--from", "here"): "--from: 'here' is no address",
        (*asked, *CLONE, "--at", "soon"): "--at: 'soon' is no time",
        (*asked, "--repository", "app", "--service", "push"): "--service: 'push' is no service",
    }
    for found, sentence in zip(run_each(proxy, list(cases)), cases.values(), strict=True):
        assert (found.code, found.out) == (2, "")
        assert sentence in found.err


def test_the_rule_of_an_account_is_told_by_file_and_line(served: Proxy) -> None:
    with served.config_file.open("a") as config:
        config.write(
            "access:\n"
            "  - who: [alice]\n"
            '    repositories: ["team/**"]\n'
            "    allow: code:write\n"
            '    refs: ["refs/heads/main=update"]\n'
        )
    [number] = [
        number
        for number, line in enumerate(served.config_file.read_text().splitlines(), 1)
        if line == "  - who: [alice]"
    ]
    _, token = served.make_token("code:write")
    asked = ("explain", "--token", token.id, *PUSH, "--ref", "refs/heads/main=force")
    found = run(served, *asked)
    assert (found.code, found.err) == (1, "gitpat-proxy: account alice may not force refs/heads/main.\n")
    assert f"config.yaml:{number}, refs: refs/heads/main=update" in found.out


def test_what_the_gate_refuses_where_the_ref_lies_is_refused(proxy: Proxy) -> None:
    repository = make_repository(proxy.repositories / "app.git", commits=1)
    Git(proxy.home())("symbolic-ref", "refs/heads/alias", "refs/heads/main", cwd=repository)
    proxy.config_file.write_text(
        "routes:\n"
        "  - {path: /here, repositories: repositories}\n"
        "  - {path: /there, upstream: 'http://127.0.0.1:9/'}\n"
        "  - {path: /safe, upstream: 'http://127.0.0.1:9/', upstream_protects_history: true}\n"
    )
    _, token = proxy.make_token("code:write", refs=["**=create,update"])
    cases = [
        ("here/app", "refs/heads/main", None),
        ("here/app", "refs/heads/alias", "on disk"),
        ("here/app", "refs/notes/x", "git"),
        ("there/app", "refs/heads/main", "routes: /there, upstream_protects_history"),
        ("safe/app", "refs/heads/main", None),
    ]
    asked = ("explain", "--json", "--token", token.id, "--service", "receive-pack", "--repository")
    runs = run_each(proxy, [(*asked, name, "--ref", f"{ref}=update") for name, ref, _ in cases])
    for found, (_, ref, rule) in zip(runs, cases, strict=True):
        [change] = json.loads(found.out)["refs"]
        refusing = [check["rule"] for check in change["checks"] if not check["permitted"]]
        assert refusing == ([rule] if rule else []), ref
        assert found.code == (1 if rule else 0)


def test_a_folder_behind_a_link_is_looked_at_where_it_is(served: Proxy) -> None:
    link = served.repositories.with_name("link")
    link.symlink_to(served.repositories)
    served.config_file.write_text(f"routes:\n  - {{path: /, repositories: {link}}}\n")
    _, token = served.make_token("code:read")
    found = run(served, "explain", "--token", token.id, *CLONE)
    assert (found.code, found.err) == (0, "")
