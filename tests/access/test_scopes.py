"""What a scope is, and which others it includes."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitpat_proxy.access.scopes import (
    BUILT_IN,
    catalogue_problem,
    checked_scopes,
    granted_by,
    scopes_of,
)
from gitpat_proxy.git.operation import SCOPE_OF_DUMB, SCOPE_OF_SERVICE
from tests.access.examples import an_account

CATALOGUE = {"work_items:read": "Work items (read)", "wiki": "Wiki"}
KNOWN = ["wiki", "code:write", "work_items:read", "code:read"]


@pytest.mark.parametrize(
    ("scopes", "granted"),
    [
        ([], []),
        (["code:read"], ["code:read"]),
        (["code:write"], ["code:read", "code:write"]),
        (["code:read", "code:write"], ["code:read", "code:write"]),
        (["work_items:read"], ["work_items:read"]),
        (["work_items:write"], ["work_items:write"]),
        (["wiki", "code:write"], ["code:read", "code:write", "wiki"]),
        (["tokens:read"], ["tokens:read"]),
        (["tokens:write"], ["tokens:read", "tokens:write"]),
        (["tokens:introspect"], ["tokens:introspect"]),
        (["admin"], ["admin"]),
    ],
)
def test_a_scope_grants_itself_and_what_it_includes(scopes: list[str], granted: list[str]) -> None:
    assert granted_by(scopes) == set(granted)


def test_every_operation_needs_a_scope_that_there_is() -> None:
    assert {*SCOPE_OF_SERVICE.values(), SCOPE_OF_DUMB} <= BUILT_IN.keys()


@pytest.mark.parametrize("asked", [["code:read"], ["wiki"], ["code:write", "work_items:read", "wiki"]])
def test_known_scopes_are_accepted(asked: list[str]) -> None:
    assert checked_scopes(asked, KNOWN) == set(asked)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ([], "a token needs at least one scope; accepted: code:read, code:write, wiki, work_items:read"),
        (["code"], "unknown scope code; accepted: code:read, code:write, wiki, work_items:read"),
        (["x", "code:read", "b"], "unknown scope b, x; accepted: code:read, code:write, wiki, work"),
        (
            ["wiki:read"],
            "unknown scope wiki:read; accepted: code:read, code:write, wiki, work_items:read; those who "
            "run the proxy name more under `scopes` in its configuration",
        ),
        (["CODE:READ"], "unknown scope CODE:READ"),
        (["code:read "], "unknown scope code:read "),
        ([""], "unknown scope ; accepted"),
        (["code:*"], "unknown scope code:*"),
        (["admin"], "admin is not for this account; accepted"),
    ],
)
def test_other_scopes_are_refused_with_what_is_accepted(asked: list[str], sentence: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        checked_scopes(asked, KNOWN)
    assert str(caught.value).startswith(sentence)


EVERYBODYS = {"code:read", "code:write", "tokens:read", "tokens:write", "tokens:delegate"}
EVERYBODYS |= {"work_items:read", "wiki"}


@pytest.mark.parametrize(
    ("administrator", "service", "more"),
    [
        (False, False, set()),
        (True, False, {"admin"}),
        (False, True, {"tokens:introspect"}),
        (True, True, {"admin", "tokens:introspect"}),
    ],
)
def test_what_an_account_is_decides_what_its_tokens_may_have(
    administrator: bool, service: bool, more: set[str]
) -> None:
    found = scopes_of(an_account(administrator=administrator, service=service), CATALOGUE)
    assert found.keys() == EVERYBODYS | more
    assert found["wiki"] == "Wiki"
    assert all(found.values())


@pytest.mark.parametrize("name", ["work_items:read", "wiki", "a:b:c", "a.b-c_d:e1", "codes:x", "code"])
def test_what_the_catalogue_may_name(name: str) -> None:
    assert catalogue_problem(name) is None


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        *[(name, "keeps for itself") for name in [*BUILT_IN, "code:x", "tokens:read", "admin"]],
        *[(name, "no scope name") for name in ["", "Work", "1a", ":a", "a:", "a::b", "a:1"]],
        *[(name, "no scope name") for name in ["a b", "a\n", "ü", "a/b"]],
    ],
)
def test_what_it_may_not(name: str, problem: str) -> None:
    assert problem in str(catalogue_problem(name))


@given(
    st.lists(
        st.sampled_from(["code", "tokens", "admin", ":", "a", "A", "_", "1", "\n"]) | st.text(max_size=2)
    )
)
def test_any_scope_of_the_catalogue_is_words_of_its_own_or_refused(parts: list[str]) -> None:
    name = "".join(parts)
    words = name.split(":")
    is_name = all(word[:1].islower() and re.fullmatch("[a-z0-9_.-]+", word) for word in words)
    is_reserved = name == "admin" or (len(words) > 1 and words[0] in {"code", "tokens"})
    assert (catalogue_problem(name) is None) == (is_name and not is_reserved)
