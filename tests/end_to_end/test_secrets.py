"""No secret is where it must not be; conftest.py looks for all of them when all tests are done."""

import subprocess
import sys
from pathlib import Path

from gitpat_proxy.access.secret import make_secret
from tests.support.proxy import Proxy, wait_until
from tests.support.raw import basic, exchange, request_bytes
from tests.support.secrets_seen import SecretsSeen


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


def test_a_leak_is_found_wherever_it_is(tmp_path: Path) -> None:
    secret = make_secret()
    seen = SecretsSeen()
    seen.secrets.add(secret)
    seen.folders.add(tmp_path)
    (tmp_path / "log").write_text(f"GET /{secret}")
    (tmp_path / "header").write_text(basic(secret))
    (tmp_path / "other").write_text(make_secret())
    seen.texts += [f"fatal: {secret}", "fatal: nothing"]
    environment = {"SECRET": secret, "PROGRAM": "gitpat-proxy"}
    command = [sys.executable, "-c", "input()", "gitpat-proxy"]
    with subprocess.Popen([*command, secret], env=environment, stdin=subprocess.PIPE) as process:
        wait_until(lambda: any(secret in line for line in seen.command_lines), what="a look")
        wait_until(lambda: any(secret in text for text in seen.environments), what="a look")
        process.communicate(b"\n")
    kinds = sorted(leak.partition(":")[0] for leak in seen.leaks())
    assert kinds == ["environment", "file", "file", "printed", "process list"]
