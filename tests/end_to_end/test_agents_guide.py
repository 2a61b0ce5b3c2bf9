"""The commands of docs/agents.md do what stands there, as they stand there."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.git import make_repository
from tests.support.proxy import PROGRAM, Proxy
from tests.support.secrets_seen import SEEN
from tests.support.tools import require

GUIDE = Path(__file__).parents[2] / "docs" / "agents.md"
BLOCKS = re.findall(r"(?ms)^```sh\n(.*?)^```$", GUIDE.read_text())


class Reader:
    """Pastes the guide's blocks into a shell."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.home = proxy.home("reader")
        self.home.mkdir()

    def paste(self, begins: str) -> None:
        [block] = [block for block in BLOCKS if begins in block]
        host = self.proxy.url.removeprefix("http://")
        text = block.replace("https://git.example.org", f"http://{host}")
        result = self.run(text)
        assert result.returncode == 0, result.stdout
        SEEN.secrets |= {path.read_text().strip() for path in self.home.glob("*-secret")}

    def run(self, text: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=self.home,
            env=os.environ
            | {
                "HOME": str(self.home),
                "PATH": f"{Path(PROGRAM).parent}:{os.environ['PATH']}",
                "GITPAT_PROXY_CONFIG": str(self.proxy.config_file),
                "GIT_TERMINAL_PROMPT": "0",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=60,
        )


@pytest.fixture
def reader(proxy: Proxy) -> Reader:
    found = subprocess.run(["sh", "-c", "command -v jq curl"], capture_output=True, check=False)
    require("jq and curl", found=found.returncode == 0)
    make_repository(proxy.repositories / "team" / "web.git")
    proxy.make_account()
    return Reader(proxy)


@pytest.mark.parametrize("derive", ["job 4711", "token derive"])
def test_a_ci_job(reader: Reader, derive: str) -> None:
    reader.paste("account add ci")
    reader.paste('"name": "job 4711"' if derive == "job 4711" else "token derive")
    reader.paste("git clone")
    # Two uses it had: the clone and the push.
    refused = reader.run(f"git ls-remote {reader.proxy.url}/team/app")
    assert "has been used as often as it may: 2 times" in refused.stdout
    refs = reader.run(f"git -C {reader.proxy.repositories}/team/app.git for-each-ref")
    assert "refs/heads/ci/4711" in refs.stdout


def test_a_job_ends_its_token_itself(reader: Reader) -> None:
    reader.paste("account add ci")
    reader.paste("token derive")
    reader.paste("--request DELETE")
    _heading, job = reader.proxy.ok("token", "list", "--status", "revoked").splitlines()
    assert "job 4711" in job


def test_a_coding_agent(reader: Reader) -> None:
    reader.paste('--name "Coding agent"')
    reader.paste('"name": "session 7"')
    helper = '!f() { echo username=x; echo "password=$(cat ~/session-secret)"; }; f'
    git = f"git -c credential.helper='{helper}'"
    for repository, code in (("team/app", 0), ("team/web", 128)):
        found = reader.run(f"{git} ls-remote {reader.proxy.url}/{repository}")
        assert found.returncode == code, found.stdout
