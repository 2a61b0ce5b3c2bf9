"""The service in docs/examples honours the same tokens as git."""

import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

from tests.support.git import Git
from tests.support.proxy import Proxy, free_port, wait_until
from tests.support.raw import accepts, basic
from tests.web.api_client import client_of, make_account

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "work_items.py"


def test_the_service_behind_work_items_honours_the_same_tokens(proxy: Proxy, tmp_path: Path) -> None:
    make_account(proxy, "work-items", service=True)
    own, _ = proxy.make_token("tokens:introspect", account="work-items")
    (tmp_path / "token").write_text(f"{own}\n")
    port = free_port()
    environment = {"PROXY": proxy.url, "TOKEN_FILE": str(tmp_path / "token"), "PORT": str(port)}
    with (tmp_path / "output").open("wb") as output:
        service = subprocess.Popen(
            [sys.executable, str(EXAMPLE)],
            env=os.environ | environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(lambda: accepts(port), 20, "the service")
        _try_it(proxy, f"http://127.0.0.1:{port}/work-items")
    finally:
        service.terminate()
        service.wait(20)


def _try_it(proxy: Proxy, url: str) -> None:
    secret, token = proxy.make_token("work_items:read", "code:read", account="alice")
    other, _ = proxy.make_token("code:read", account="alice")
    Git(proxy.home(), secret)("clone", f"{proxy.url}/team/app", "work")
    assert _status(url, f"Bearer {secret}") == 200
    assert _status(url, basic(secret)) == 200
    assert _status(url, basic(other)) == 403
    assert _status(url, "Bearer gpat_nobody") == 401
    assert _status(url, None) == 401
    client = client_of(proxy, "alice", "tokens:write")
    assert client.ask("DELETE", f"/tokens/{token.id}").status == 200
    assert _status(url, f"Bearer {secret}") == 401


def _status(url: str, authorization: str | None) -> int:
    headers = {"Authorization": authorization} if authorization else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20) as answer:
            assert b"alice" in answer.read()
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
