"""Fifty commands that are started at once all succeed."""

import json
import subprocess

import pytest

from gitpat_proxy.access.secret import is_well_formed
from tests.support.proxy import PROGRAM, Proxy
from tests.support.secrets_seen import SEEN

pytestmark = pytest.mark.alone  # fifty processes

MANY = 50


def test_many_tokens_made_at_once_are_all_there_and_all_different(proxy: Proxy) -> None:
    command = [PROGRAM, "--config", str(proxy.config_file), "token", "create", "--account", "alice"]
    started = [
        subprocess.Popen(
            [*command, "--name", f"Token {number}", "--scope", "code:read"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(MANY)
    ]
    ended = [(process.communicate(timeout=120), process.returncode) for process in started]
    assert [err for (_, err), code in ended if code != 0] == []
    secrets = {out.strip() for (out, _), _ in ended}
    SEEN.secrets |= secrets
    assert len(secrets) == MANY
    assert all(map(is_well_formed, secrets))
    tokens = json.loads(proxy.ok("token", "list", "--json"))
    assert len({token["id"] for token in tokens}) == MANY
    assert {token["name"] for token in tokens} == {f"Token {number}" for number in range(MANY)}
    assert {token["hint"][-4:] for token in tokens} == {secret[-4:] for secret in secrets}
    assert len(json.loads(proxy.ok("audit", "--json"))) == MANY + 1
