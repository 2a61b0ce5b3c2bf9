"""`gitpat-proxy check`: a line for every part, and 1 as soon as one fails."""

import errno
import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from gitpat_proxy.cli.check import cannot_listen
from gitpat_proxy.config.values import ListenAddress
from tests.cli.program import Run, run
from tests.support.git import make_repository
from tests.support.proxy import Proxy, free_port
from tests.support.tools import require


def configure(proxy: Proxy, **config: Any) -> None:
    proxy.config_file.write_text(yaml.safe_dump(proxy.config | config))


def lines(found: Run) -> dict[str, tuple[str, str]]:
    """Return what each part's line says, by the part."""
    assert found.err == ""
    parsed = {}
    for line in found.out.splitlines():
        part, _, detail = line[6:].partition(": ")
        parsed[part] = (line[:6].strip(), detail)
    return parsed


def openssl(*arguments: str, folder: Path) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def certificates(proxy: Proxy) -> Path:
    """One that fits and one that has expired, both for key.pem, and another key."""
    require("openssl")
    folder = proxy.folder
    new_key = ["req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    openssl(*new_key, "-x509", "-days", "30", "-keyout", "key.pem", "-out", "cert.pem", folder=folder)
    openssl("genrsa", "-out", "other.pem", "2048", folder=folder)
    openssl("req", "-new", "-key", "key.pem", "-subj", "/CN=x", "-out", "request", folder=folder)
    sign = ["x509", "-req", "-in", "request", "-signkey", "key.pem", "-days", "-1"]
    openssl(*sign, "-out", "expired.pem", folder=folder)
    return folder


class Answers(BaseHTTPRequestHandler):
    """Answers with the status that the path names."""

    def do_GET(self) -> None:
        self.send_response(int(self.path.strip("/")))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing."""


@pytest.fixture
def upstream() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_an_installation_that_works(proxy: Proxy, certificates: Path, upstream: str) -> None:
    make_repository(proxy.repositories / "team" / "app.git")
    configure(
        proxy,
        tls={"certificate": "cert.pem", "key": "key.pem"},
        routes=[*proxy.config["routes"], {"path": "/other", "upstream": f"{upstream}/404"}],
    )
    found = run(proxy, "check")
    assert found.code == 0
    said = lines(found)
    assert {word for word, _ in said.values()} == {"ok"}
    certificate = f"certificate {certificates}/cert.pem"
    listen = f"listen 127.0.0.1:{proxy.port}"
    first = ["configuration", "git", "database", listen]
    assert list(said) == [*first, certificate, "spool /var/tmp", "route /", "route /other"]
    assert said["configuration"][1] == str(proxy.config_file)
    assert "(at least 2.31), /" in said["git"][1]
    assert said["database"][1] == f"sqlite:///{proxy.folder}/gitpat.db, schema up to date"
    assert said[listen][1] == "nothing listens there yet"
    assert said[certificate][1].startswith("fits its key, valid until 20")
    assert said["route /"][1].endswith("repositories: 1 repositories, team/app.git can be read")
    assert said["route /other"][1] == f"upstream {upstream}/404: it answers (404)"


def test_every_part_that_fails_has_its_line(proxy: Proxy, certificates: Path, upstream: str) -> None:
    (proxy.folder / "gitpat.db").unlink()
    broken = make_repository(proxy.folder / "damaged" / "app.git")
    (broken / "HEAD").write_text("nonsense\n")
    dead = f"http://127.0.0.1:{free_port()}"
    configure(
        proxy,
        tls={"certificate": "cert.pem", "key": "other.pem"},
        routes=[
            {"path": "/", "repositories": "damaged"},
            {"path": "/dead", "upstream": dead},
            {"path": "/401", "upstream": f"{upstream}/401"},
            {"path": "/500", "upstream": f"{upstream}/500"},
            {"path": "/ca", "upstream": upstream, "upstream_ca_file": "key.pem"},
            {"path": "/itself", "repositories": "damaged/app.git"},
            {"path": "/empty", "repositories": "repositories"},
        ],
        listen=[f"192.0.2.1:{proxy.port}", f"nowhere.invalid:{proxy.port}"],
        spool="/proc",
    )
    found = run(proxy, "check")
    assert found.code == 1
    said = lines(found)
    assert {part for part, (word, _) in said.items() if word == "ok"} == {
        *["configuration", "git", "route /empty"],
    }
    details = {part: detail for part, (word, detail) in said.items() if word == "FAIL"}
    assert "`gitpat-proxy database upgrade` makes it" in details["database"]
    assert "key values mismatch" in details[f"certificate {certificates}/cert.pem"].lower()
    assert details["spool /proc"].startswith("no file can be made there: ")
    assert "git can't read app.git: fatal: " in details["route /"]
    assert f"upstream {dead}: can't be reached: " in details["route /dead"]
    assert details["route /401"].endswith("it refuses the credentials of this route (401)")
    assert details["route /500"].endswith("it answers (500)")
    assert details["route /ca"]
    assert details["route /itself"].endswith(
        f"it is itself a repository; name the folder {broken.parent}"
    )
    here = "can't listen there: cannot assign requested address; `listen` names where"
    assert details[f"listen 192.0.2.1:{proxy.port}"] == here
    assert details[f"listen nowhere.invalid:{proxy.port}"].startswith("can't listen there: ")


def test_addresses_that_are_taken_or_that_only_the_server_may_take_are_no_fault(proxy: Proxy) -> None:
    """The same is seen while gitpat-proxy serves, and where its unit gives it a capability."""
    with socket.create_server(("127.0.0.1", proxy.port)):
        configure(proxy, listen=[f"127.0.0.1:{proxy.port}"])
        said = lines(run(proxy, "check"))
    assert said[f"listen 127.0.0.1:{proxy.port}"] == (
        "ok",
        "something listens there already; is gitpat-proxy running?",
    )
    refused = cannot_listen(ListenAddress("127.0.0.1", 80), OSError(errno.EACCES, "Permission denied"))
    assert refused.ok
    assert "CAP_NET_BIND_SERVICE" in refused.detail


def test_a_unix_socket_is_looked_at_and_not_made(proxy: Proxy) -> None:
    """Only below /run somebody else may make its folder before it is served."""
    places = {
        f"{proxy.folder}/new": ("ok", f"a socket can be made in {proxy.folder}"),
        f"{proxy.folder}/used": ("ok", "a socket is there already; is gitpat-proxy running?"),
        f"{proxy.config_file}": ("FAIL", "what is there is no socket"),
        f"{proxy.config_file}/new": ("FAIL", f"there is no folder {proxy.config_file} that this user"),
        f"{proxy.folder}/none/new": ("FAIL", f"there is no folder {proxy.folder}/none that this user"),
        "/run/of-its-unit/new": ("ok", "there is no /run/of-its-unit yet; its unit has to make it"),
    }
    configure(proxy, listen=[f"unix:{place}" for place in places])
    with socket.socket(socket.AF_UNIX) as used:
        used.bind(f"{proxy.folder}/used")
        said = lines(run(proxy, "check"))
    for place, (outcome, detail) in places.items():
        found = said[f"listen unix:{place}"]
        assert (found[0], detail in found[1]) == (outcome, True), found
    assert not (proxy.folder / "new").exists()
    (proxy.folder / "used").unlink()


def test_a_certificate_that_has_expired_fails(proxy: Proxy, certificates: Path) -> None:
    configure(proxy, tls={"certificate": "expired.pem", "key": "key.pem"})
    found = run(proxy, "check", "--json")
    assert (found.code, found.err) == (1, "")
    findings = json.loads(found.out)
    assert all(list(finding) == ["part", "ok", "detail"] for finding in findings)
    [failed] = [finding for finding in findings if not finding["ok"]]
    assert failed["part"] == f"certificate {certificates}/expired.pem"
    assert "expired" in failed["detail"]


def test_mistakes_of_the_configuration_are_lines_as_well(proxy: Proxy) -> None:
    configure(proxy, routes=[{"path": "/", "repositories": "none"}], listen="0.0.0.0:80")
    found = run(proxy, "check")
    assert found.code == 1
    assert found.err == ""
    first, second = found.out.splitlines()
    assert first.startswith(f"FAIL  configuration: {proxy.config_file}:1: listen: 0.0.0.0:80 is plain")
    assert f"routes[0].repositories: {proxy.folder}/none is not a folder" in second


def test_without_git_it_says_so(proxy: Proxy, tmp_path: Path) -> None:
    found = run(proxy, "check", environment={"PATH": str(tmp_path)})
    assert found.code == 1
    said = lines(found)
    assert said["git"] == ("FAIL", "git is not installed, or not on the search path")
    assert said["route /"][0] == "FAIL"


def test_rules_have_a_line_that_names_who_is_nobody(proxy: Proxy) -> None:
    proxy.make_account("alice")
    rule = {"who": ["devs", "svc-*"], "repositories": ["**"], "allow": "code:read"}
    configure(proxy, groups={"devs": ["alice", "bbo"]}, access=[rule, rule | {"who": ["alic*"]}])
    detail = "2 rules; neither a group nor an account so far: bbo, svc-*"
    assert lines(run(proxy, "check"))["access"] == ("ok", detail)


def test_a_file_of_rules_that_is_broken_fails(proxy: Proxy) -> None:
    file = proxy.folder / "access.yaml"
    file.write_text("access:\n- {who: [alice], repositories: [], allow: all}\n")
    configure(proxy, access_file="access.yaml")
    found = run(proxy, "check")
    assert found.code == 1
    [first, second] = [line for line in found.out.splitlines() if line.startswith("FAIL")]
    place = f"FAIL  access {file}: {file}:2: access[0]"
    assert first.startswith(f"{place}.repositories: nothing is included; include something")
    assert second == f"{place}.allow: this text can't be used here; accepted: code:read or code:write"
