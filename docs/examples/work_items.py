"""A service that honours the proxy's tokens: GET /work-items, for tokens with `work_items:read`.

    PROXY=https://git.example.org TOKEN_FILE=/etc/work-items/token python work_items.py

It needs aiohttp. The token in the file belongs to a service account and has the scope
`tokens:introspect`.
"""

import os
from pathlib import Path

from aiohttp import BasicAuth, ClientSession, web

INTROSPECT = os.environ["PROXY"] + "/-/api/v1/introspect"
OWN = {"Authorization": "Bearer " + Path(os.environ["TOKEN_FILE"]).read_text(encoding="utf-8").strip()}


def secret_in(request: web.Request) -> str | None:
    """Return what git, or a program, sends as the password or as a bearer token."""
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic":
        return BasicAuth.decode(f"Basic {value}").password
    return value if scheme.lower() == "bearer" else None


async def worth(secret: str, address: str) -> dict[str, str]:
    """Ask the proxy, each time anew: what was revoked a moment ago opens nothing."""
    form = {"token": secret, "client_address": address}
    async with ClientSession() as session, session.post(INTROSPECT, data=form, headers=OWN) as answer:
        answer.raise_for_status()
        return await answer.json()


async def work_items(request: web.Request) -> web.Response:
    """Answer whoever has a living token with the scope."""
    secret = secret_in(request)
    token = await worth(secret, request.remote or "") if secret else {}
    if not token.get("active"):
        raise web.HTTPUnauthorized(headers={"WWW-Authenticate": 'Bearer realm="work items"'})
    if "work_items:read" not in token["scope"].split():
        raise web.HTTPForbidden(text="The token lacks the scope work_items:read.\n")
    return web.json_response({"for": token["username"], "items": ["Paint the shed"]})


if __name__ == "__main__":
    app = web.Application()
    app.router.add_get("/work-items", work_items)
    web.run_app(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8420")))
