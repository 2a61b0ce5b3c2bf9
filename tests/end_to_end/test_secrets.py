"""The last test of a run: no secret of it is where it must not be."""

from tests.support.proxy import Proxy
from tests.support.raw import basic, exchange, request_bytes
from tests.support.secrets_seen import SEEN


def test_secrets_in_the_wrong_places_are_not_logged(proxy: Proxy) -> None:
    """As the username, in the path, in the query: where people put them by mistake."""
    secret, _ = proxy.make_token("code:write")
    for target, authorization in [
        ("/team/app/info/refs?service=git-upload-pack", basic("x", secret)),
        (f"/{secret}/info/refs?service=git-upload-pack", basic(secret)),
        (f"/team/app/info/refs?service=git-upload-pack&token={secret}", basic("wrong")),
        (f"/team/app/info/refs?service={secret}", basic(secret)),
        ("/team/app/info/refs?service=git-upload-pack", f"Token {secret}"),
    ]:
        answer = exchange(proxy.port, request_bytes("GET", target, f"Authorization: {authorization}"))
        assert secret.encode() not in answer
    proxy.stop()
    assert secret not in proxy.log
    proxy.start()


def test_no_secret_was_written_anywhere() -> None:
    """In no log, database, error text, process list or environment of the whole run."""
    assert SEEN.secrets
    assert SEEN.folders
    assert SEEN.command_lines
    assert SEEN.leaks() == []
