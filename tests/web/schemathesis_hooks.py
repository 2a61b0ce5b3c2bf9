"""What Schemathesis can't know: how not to end the token that it asks with, what scopes there are."""

import json
import os
import re
import urllib.request
from pathlib import Path
from typing import Any

import schemathesis

from gitpat_proxy.web.api.models import TOKEN_ID

_URL = os.environ["API_URL"]
_SECRET = Path(os.environ["API_TOKEN_FILE"]).read_text()
"""In a file: whoever may see a process may see its environment."""
_ID = os.environ["API_TOKEN_ID"]


@schemathesis.auth(refresh_interval=None)
class Tokens:
    """The same token for all, but a new one for each that is to end itself."""

    def get(self, case: schemathesis.Case, context: Any) -> str:
        return _new_secret() if _name_of(case) == "revokeSelf" else _SECRET

    def set(self, case: schemathesis.Case, data: str, context: Any) -> None:
        case.headers["Authorization"] = f"Bearer {data}"


@schemathesis.hook
def before_call(context: Any, case: schemathesis.Case, kwargs: dict[str, Any]) -> None:
    """The token that asks is revoked by none of the calls that find its id in an answer.

    What is asked about a token is asked about this one, so that there is one to ask about.
    """
    token_id = str(case.path_parameters.get("id"))
    if _name_of(case) == "revokeToken" and token_id == _ID:
        case.path_parameters["id"] = "babab-babab"
    if _name_of(case) == "explainToken" and re.fullmatch(TOKEN_ID, token_id):
        case.path_parameters["id"] = _ID


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """Scopes and expiries that fit the schema become some that there are, so that there are tokens."""
    if isinstance(body, dict) and _are_scopes(body.get("scopes")):
        body["scopes"] = ["code:read"]
    if isinstance(body, dict) and isinstance(body.get("expires"), str) and len(body["expires"]) <= 40:
        body["expires"] = "30d"
    return body


def _are_scopes(value: Any) -> bool:
    if not isinstance(value, list) or not 1 <= len(value) <= 100:
        return False
    return all(isinstance(scope, str) and 1 <= len(scope) <= 100 for scope in value)


def _name_of(case: schemathesis.Case) -> str:
    return str(case.operation.definition.raw["operationId"])


def _new_secret() -> str:
    request = urllib.request.Request(
        f"{_URL}/-/api/v1/tokens",
        data=json.dumps({"name": "Ends itself", "scopes": ["code:read"]}).encode(),
        headers={"Authorization": f"Bearer {_SECRET}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=20) as response:
        return str(json.load(response)["token"])
