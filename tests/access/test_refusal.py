"""Codes, statuses and sentences: one table, as the design promises them."""

import pytest

from gitpat_proxy.access.refusal import Code, RefusedError, refuse

# Each code with its status and all the facts that its sentence takes.
FACTS: dict[Code, tuple[int, dict[str, object]]] = {
    Code.CREDENTIALS_MISSING: (401, {}),
    Code.CREDENTIALS_MALFORMED: (401, {}),
    Code.TOKEN_UNKNOWN: (401, {}),
    Code.TOKEN_EXPIRED: (401, {"token": "<token>", "date": "<date>"}),
    Code.TOKEN_REVOKED: (401, {"token": "<token>", "date": "<date>", "reason": "<reason>"}),
    Code.TOKEN_NOT_YET_VALID: (401, {"token": "<token>", "date": "<date>"}),
    Code.TOKEN_USED_UP: (401, {"token": "<token>", "uses": "<uses>"}),
    Code.ACCOUNT_DISABLED: (401, {"token": "<token>", "account": "<account>"}),
    Code.ADDRESS_DENIED: (401, {"token": "<token>", "address": "<address>"}),
    Code.SCOPE_MISSING: (
        401,
        {
            "token": "<token>",
            "token_id": "<id>",
            "scopes": "<scopes>",
            "service": "<service>",
            "needed": "<needed>",
        },
    ),
    Code.REPOSITORY_NOT_FOUND: (404, {"repository": "<repository>"}),
    Code.ACCESS_DENIED: (
        403,
        {
            "account": "<account>",
            "repository": "<repository>",
            "service": "<service>",
            "needed": "<needed>",
        },
    ),
    Code.REF_DENIED: (200, {"who": "<who>", "verb": "<verb>", "ref": "<ref>"}),
    Code.REF_MALFORMED: (200, {"ref": "<ref>"}),
    Code.COMMANDS_UNCLEAR: (400, {}),
    Code.DUMB_PROTOCOL_OFF: (404, {}),
    Code.SERVICE_OFF: (403, {"repository": "<repository>", "service": "<service>"}),
    Code.THROTTLED: (429, {"address": "<address>", "retry_after": 17}),
    Code.BUSY: (503, {"whose": "<whose>", "retry_after": 17}),
    Code.PUSH_TOO_LARGE: (413, {"most": "<most>"}),
    Code.TOO_MANY_REFS: (413, {"most": "<most>"}),
    Code.STOPPING: (503, {}),
    Code.UPSTREAM_FAILED: (502, {"what": "<what>"}),
    Code.UPSTREAM_TIMEOUT: (504, {}),
    Code.UNAVAILABLE: (503, {}),
    Code.NOT_GIT: (404, {}),
    Code.METHOD_NOT_ALLOWED: (405, {"allow": "GET"}),
    Code.BAD_REQUEST: (400, {"what": "<what>"}),
    Code.MEDIA_TYPE: (415, {"what": "<what>"}),
    Code.INTERNAL: (500, {}),
}


def test_every_code_is_here() -> None:
    assert FACTS.keys() == set(Code)


@pytest.mark.parametrize("code", Code)
def test_every_code_has_its_status_and_a_sentence_that_tells_the_facts(code: Code) -> None:
    status, facts = FACTS[code]
    refusal = refuse(code, **facts)
    assert (refusal.code, refusal.status) == (code, status)
    told = f"{refusal.sentence} {refusal.page}"
    assert all(str(value) in told for value in facts.values())
    assert "<id>" not in refusal.sentence
    assert refusal.sentence.endswith(".")
    assert not {"{", "}", "\n"} & set(refusal.sentence)
    assert refusal.challenges == (status == 401)
    assert refusal.retry_after == facts.get("retry_after")
    assert refusal.allow == facts.get("allow")


@pytest.mark.parametrize("code", [code for code, (_, facts) in FACTS.items() if facts])
def test_a_sentence_without_its_facts_is_never_told(code: Code) -> None:
    facts = FACTS[code][1]
    for missing in facts.keys() - {"retry_after", "allow"}:
        with pytest.raises(KeyError):
            refuse(code, **{name: value for name, value in facts.items() if name != missing})


def test_a_page_is_named_where_the_person_can_do_something() -> None:
    pages = {code: refuse(code, **facts).page for code, (_, facts) in FACTS.items()}
    assert {code for code, page in pages.items() if page is None} == {
        code for code, (status, _) in FACTS.items() if status != 401
    } | {Code.ACCOUNT_DISABLED}
    assert {page for page in pages.values() if page and not page.startswith("/-/tokens")} == set()
    assert pages[Code.SCOPE_MISSING] == "/-/tokens/<id>/edit"


def test_facts_are_taken_as_they_are() -> None:
    refusal = refuse(Code.TOKEN_EXPIRED, token="{date} {0} %s", date="today")
    assert refusal.sentence == "The token {date} {0} %s expired on today."


def test_a_refusal_travels_in_an_error() -> None:
    refusal = refuse(Code.NOT_GIT)
    error = RefusedError(refusal)
    assert error.refusal is refusal
    assert str(error) == refusal.sentence
