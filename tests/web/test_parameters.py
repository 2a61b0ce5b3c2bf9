"""From a request to what an operation takes: all of it checked, or a problem that says what is wrong."""

import json
from collections.abc import Mapping

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from yarl import URL

from gitpat_proxy.access.names import printable
from gitpat_proxy.web.api import models
from gitpat_proxy.web.api.parameters import headers_of, query_of
from gitpat_proxy.web.api.problem import ProblemError


def query(text: str, model: type[models.Input]) -> models.Input:
    address = URL.build(path="/-/api/v1/tokens", query_string=text, encoded=True)
    return query_of(make_mocked_request("GET", "/").clone(rel_url=address), model)


@pytest.mark.parametrize(
    ("text", "model", "values"),
    [
        ("", models.TokenList, {"limit": 50, "status": "all", "cursor": None}),
        ("limit=7&status=active&search=a+b", models.TokenList, {"limit": 7, "search": "a b"}),
        ("all_accounts=true&account=", models.Page, {"all_accounts": True, "account": ""}),
        ("repository=team%2Fapp&kind=push", models.ActivityList, {"repository": "team/app"}),
    ],
)
def test_parameters_are_read(text: str, model: type[models.Input], values: Mapping[str, object]) -> None:
    assert query(text, model).model_dump().items() >= values.items()


@pytest.mark.parametrize(
    "text",
    [
        "limit=0",
        "limit=201",
        "limit=1_0",
        "limit=",
        "limit=1&limit=1",
        "x=1",
        "search=%ff",
        "a",
        "all_accounts=1",
    ],
)
def test_what_is_no_parameter_is_a_problem(text: str) -> None:
    with pytest.raises(ProblemError) as caught:
        query(text, models.TokenList)
    assert caught.value.status == 400


NAMES = st.sampled_from(
    [*models.TokenList.model_fields, *models.ActivityList.model_fields, "x", "", "\udcff"]
)
WORDS = [
    "1",
    "200",
    "true",
    "active",
    "push",
    "%00",
    "%ff",
    "%u0000",
    "+",
    "\udcff",
    "ü",
    "9" * 400,
    "24h",
]
PAIRS = st.tuples(NAMES, st.sampled_from(["=", "", "=="]), st.sampled_from(WORDS) | st.text(max_size=5))
QUERIES = st.lists(PAIRS.map("".join), max_size=4).map("&".join) | st.text(max_size=20)


@given(QUERIES, st.sampled_from([models.TokenList, models.ActivityList, models.Nothing]))
def test_any_query_is_what_an_operation_takes_or_a_problem(text: str, model: type[models.Input]) -> None:
    try:
        taken = query(text, model)
    except ProblemError as error:
        check(error)
        return
    # What goes on to the database is text that it can hold.
    json.dumps(taken.model_dump(), ensure_ascii=False).encode()


HEADERS = st.lists(
    st.tuples(
        st.sampled_from(["Idempotency-Key", "If-Match", "If-None-Match", "if-match"]),
        st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=300)
        | st.sampled_from(["*", "a", '"x"']),
    ),
    max_size=3,
)


@given(HEADERS, st.sampled_from([models.Once, models.IfMatch, models.IfNoneMatch, models.Nothing]))
def test_any_header_is_what_an_operation_takes_or_a_problem(
    pairs: list[tuple[str, str]], model: type[models.Input]
) -> None:
    request = make_mocked_request("GET", "/", CIMultiDict(pairs))
    try:
        taken = headers_of(request, model)
    except ProblemError as error:
        check(error)
        return
    sent = {value for _, value in pairs}
    assert all(
        value in sent or ", " in value for value in taken.model_dump().values() if value is not None
    )


def check(error: ProblemError) -> None:
    assert error.status == 400
    for text in (error.detail, *error.errors, *error.errors.values()):
        assert text == printable(text)
    assert len(error.detail) < 2000
