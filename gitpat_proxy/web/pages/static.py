"""The stylesheet, the script, the icon: read once, and kept by browsers until they change."""

import hashlib
import mimetypes
from pathlib import Path

from aiohttp import hdrs, web

_FOLDER = Path(__file__).parents[1] / "static"


class Static:
    """What pages load beside themselves."""

    def __init__(self) -> None:
        self._files = {file.name: file.read_bytes() for file in _FOLDER.iterdir()}

    def url(self, name: str) -> str:
        """Return the address of a file; it changes with the file's content."""
        return f"/-/static/{name}?{hashlib.sha256(self._files[name]).hexdigest()[:12]}"

    async def serve(self, request: web.Request) -> web.Response:
        """Answer with a file."""
        body = self._files.get(request.match_info["name"])
        if body is None:
            return web.Response(status=404, text="There is nothing at this address.\n")
        kind = mimetypes.guess_type(request.match_info["name"])[0] or "application/octet-stream"
        headers = {
            hdrs.CACHE_CONTROL: "public, max-age=31536000, immutable",
            hdrs.CONTENT_TYPE: f"{kind}; charset=utf-8",
            "X-Content-Type-Options": "nosniff",
        }
        return web.Response(body=body, headers=headers)
