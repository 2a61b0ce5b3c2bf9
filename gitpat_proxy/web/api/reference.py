"""The document as a page shows it."""

from collections.abc import Iterator, Mapping
from typing import Any

from gitpat_proxy.web.api.problem import PROBLEMS


def reference(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variables of the page's template out of the OpenAPI document."""
    schemas: Mapping[str, Any] = document["components"]["schemas"]
    return {
        "operations": [
            _operation(method, path, operation)
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
        ],
        "schemas": [
            {"name": name, "description": schema.get("description", ""), "fields": list(_fields(schema))}
            for name, schema in sorted(schemas.items())
        ],
        "problems": [
            {"code": str(code), "status": status, "title": title}
            for code, (status, title) in PROBLEMS.items()
        ],
        "openapi_url": "/-/api/v1/openapi.json",
    }


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> dict[str, Any]:
    scopes = [scope for way in operation["security"] for scope in way.get("bearer", ())]
    return {
        "method": method.upper(),
        "path": path,
        "summary": operation["summary"],
        "description": operation["description"],
        "scope": scopes[0] if scopes else None,
        "parameters": [
            {
                "name": parameter["name"],
                "place": parameter["in"],
                "required": parameter["required"],
                "description": parameter["description"],
                "type": _type(parameter["schema"]),
            }
            for parameter in operation["parameters"]
        ],
        "body": _body(operation.get("requestBody", {})),
        "answers": [
            {"status": status, "description": answer["description"], "schema": _body(answer)}
            for status, answer in operation["responses"].items()
        ],
    }


def _body(described: Mapping[str, Any]) -> str | None:
    for content in described.get("content", {}).values():
        return _type(content["schema"])
    return None


def _fields(schema: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name, field in schema.get("properties", {}).items():
        yield {
            "name": name,
            "type": _type(field),
            "required": name in schema.get("required", ()),
            "description": field.get("description", ""),
        }


def _type(schema: Mapping[str, Any]) -> str:
    """Return a schema's type in words, a model's by its name."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    return str(schema.get("format") or schema.get("const") or schema.get("type", "anything"))
