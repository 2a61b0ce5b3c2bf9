"""The OpenAPI document and the page made of it: all that there is, and nothing twice."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema_rs import validator_for

from gitpat_proxy.web.api.document import document
from gitpat_proxy.web.api.operations import OPERATIONS, methods_at
from gitpat_proxy.web.api.problem import PROBLEMS
from gitpat_proxy.web.api.reference import reference

DOCUMENT = document("https://git.example.org/", "1.2.3")
REFERENCE = reference(DOCUMENT)
DOCS = (Path(__file__).parents[2] / "docs" / "api.md").read_text()


def test_every_operation_is_described() -> None:
    described = {(m.upper(), path) for path, methods in DOCUMENT["paths"].items() for m in methods}
    assert described == {(operation.method, operation.path) for operation in OPERATIONS}
    assert len({operation.name for operation in OPERATIONS}) == len(OPERATIONS)
    assert DOCUMENT["servers"] == [{"url": "https://git.example.org"}]


def test_every_reference_leads_somewhere_and_every_schema_is_one() -> None:
    text = json.dumps(DOCUMENT)
    schemas = DOCUMENT["components"]["schemas"]
    assert set(re.findall(r'"#/components/schemas/(\w+)"', text)) <= schemas.keys()
    for schema in schemas.values():
        validator_for({**schema, "components": {"schemas": schemas}})


def test_what_is_taken_has_no_unknown_fields_and_says_what_each_is() -> None:
    for name in ("NewToken", "TokenChanges"):
        schema = DOCUMENT["components"]["schemas"][name]
        assert schema["additionalProperties"] is False
        assert all("description" in json.dumps(field) for field in schema["properties"].values())


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_each_operation_says_who_may_ask_and_what_may_go_wrong(operation: Any) -> None:
    described = DOCUMENT["paths"][operation.path][operation.method.lower()]
    assert described["summary"]
    assert described["description"]
    statuses = set(described["responses"])
    assert {"405", "413", "500", "503"} <= statuses
    assert ("401" in statuses) == bool(described["security"])
    assert ("403" in statuses) == bool(operation.scope)
    assert ("404" in statuses) == ("{id}" in operation.path)
    assert all(parameter["description"] for parameter in described["parameters"])


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/-/api/v1/tokens", {"GET", "POST"}),
        ("/-/api/v1/tokens/fakon-lapag", {"GET", "PATCH", "DELETE"}),
        ("/-/api/v1/tokens/fakon-lapag/rotate", {"POST"}),
        ("/-/api/v1/tokens/fakon-lapag\n", set()),
        ("/-/api/v1/tokens/fakon%2Dlapag", set()),
        ("/-/api/v1/tokens/..", set()),
        ("/-/api/v1/openapiXjson", set()),
    ],
)
def test_an_address_is_matched_whole_and_as_it_was_sent(path: str, methods: set[str]) -> None:
    assert set(methods_at(path)) == methods


def test_the_page_has_what_its_template_shows() -> None:
    assert len(REFERENCE["operations"]) == len(OPERATIONS)
    by_name = {(o["method"], o["path"]): o for o in REFERENCE["operations"]}
    made = by_name["POST", "/-/api/v1/tokens"]
    assert (made["scope"], made["body"]) == ("tokens:write", "NewToken")
    [key] = made["parameters"]
    assert (key["name"], key["place"], key["required"]) == ("Idempotency-Key", "header", False)
    assert {
        "status": "201",
        "description": made["answers"][0]["description"],
        "schema": "MadeToken",
    } in (made["answers"])
    assert by_name["POST", "/-/api/v1/revoke"]["scope"] is None
    [token] = [schema for schema in REFERENCE["schemas"] if schema["name"] == "NewToken"]
    assert {f["name"]: f["required"] for f in token["fields"]} == {
        "name": True,
        "scopes": True,
        "expires": False,
        "not_before": False,
        "addresses": False,
        "repositories": False,
        "refs": False,
        "uses": False,
    }
    assert all(f["type"] for schema in REFERENCE["schemas"] for f in schema["fields"])


@pytest.mark.parametrize("code", PROBLEMS)
def test_every_code_is_in_the_documentation(code: str) -> None:
    assert f"`{code}`" in DOCS
    status = PROBLEMS[code][0]
    assert re.search(rf"^\| [^|]*{status}[^|]*\|[^|]*`{code}`", DOCS, re.MULTILINE)
