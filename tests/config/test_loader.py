"""The configuration: what is read from it, and every mistake named with its key and line."""

import re
import tempfile
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitpat_proxy.config.errors import ConfigError, Problem
from gitpat_proxy.config.loader import keys_of, load
from gitpat_proxy.config.model import Config, HeaderSignIn, RouteConfig
from gitpat_proxy.config.values import ListenAddress

ROUTES = "routes: [{path: /, repositories: repositories}]\n"
FOLDER = {"path": "/", "repositories": "repositories"}
SERVER = {"path": "/", "upstream": "http://host"}
USER = SERVER | {"upstream_username": "proxy"}


def route(**keys: str) -> str:
    """Return one route with a line for each key, the first on line 2."""
    return "routes:\n- " + "\n  ".join(f"{key}: {value}" for key, value in keys.items()) + "\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder beside which the program is not started."""
    (tmp_path / "repositories").mkdir()
    (tmp_path / "password").write_text("word\n")
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    monkeypatch.setenv("GITPAT_TEST_PASSWORD", "word")
    monkeypatch.setenv("GITPAT_TEST_EMPTY", "")
    monkeypatch.chdir("/")
    return tmp_path


def read(folder: Path, text: str) -> Config:
    file = folder / "config.yaml"
    file.write_text(text)
    return load(file)


def problems(folder: Path, text: str) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        read(folder, text)
    found = caught.value.problems
    assert str(caught.value) == "\n".join(map(str, found))
    assert {problem.file for problem in found} == {folder / "config.yaml"}
    return found


def test_a_file_with_every_key(folder: Path) -> None:
    for name in ("cert.pem", "key.pem"):
        (folder / name).touch()
    config = read(
        folder,
        """
listen: ["0.0.0.0:80", "[::1]:8418", "unix:run/socket", "localhost:65535"]
public_url: https://git.example.org/
database: sqlite:///data/gitpat.db
tls: {certificate: cert.pem, key: /etc/hostname}
trusted_proxies: [127.0.0.1/32, fd00::/8]
workers: 1
missing_scope_status: 403
scopes: {work_items:read: Work items}
routes:
  - {path: /, repositories: repositories, dumb_protocol: true}
  - path: /legacy/code/
    upstream: http://127.0.0.1:3000/git/
    upstream_username: proxy
    upstream_password_file: password
    upstream_ca_file: cert.pem
    upstream_timeout_seconds: 5
tokens: {default_lifetime: 12h, longest_lifetime: never}
limits: {operations: 1, unknown_tokens: 2}
sign_in:
  passwords: false
  header: {name: Remote-User, from: [192.0.2.1/32], create_accounts: true}
""",
    )
    assert config.listen == (
        ListenAddress("0.0.0.0", 80),
        ListenAddress("::1", 8418),
        ListenAddress(path=folder / "run/socket"),
        ListenAddress("localhost", 65535),
    )
    assert [str(address) for address in config.listen[:2]] == ["0.0.0.0:80", "[::1]:8418"]
    assert config.public_url == "https://git.example.org"
    assert config.database == f"sqlite:///{folder}/data/gitpat.db"
    assert config.tls
    assert (config.tls.certificate, config.tls.key) == (folder / "cert.pem", Path("/etc/hostname"))
    assert config.trusted_proxies == (ip_network("127.0.0.1/32"), ip_network("fd00::/8"))
    assert (config.missing_scope_status, config.scopes) == (403, {"work_items:read": "Work items"})
    own, legacy = config.routes
    assert (own.path, own.segments, own.repositories) == ("/", (), folder / "repositories")
    assert own.dumb_protocol
    assert (legacy.path, legacy.segments) == ("/legacy/code", ("legacy", "code"))
    assert (legacy.upstream, legacy.read_upstream_password()) == ("http://127.0.0.1:3000/git", "word")
    assert (legacy.upstream_ca_file, legacy.upstream_timeout_seconds) == (folder / "cert.pem", 5)
    assert (config.tokens.longest_lifetime, config.tokens.default_lifetime) == ("never", "12h")
    assert (config.limits.operations, config.limits.unknown_tokens) == (1, 2)
    assert (config.sign_in.passwords, config.sign_in.header) == (
        False,
        HeaderSignIn.model_validate(
            {"name": "Remote-User", "from": ["192.0.2.1/32"], "create_accounts": True}
        ),
    )


def test_what_is_not_given_has_its_default(folder: Path) -> None:
    config = read(folder, ROUTES)
    assert config.listen == (ListenAddress("127.0.0.1", 8418),)
    assert config.database == f"sqlite:///{folder}/gitpat.db"
    assert (config.tokens.default_lifetime, config.tokens.longest_lifetime) == ("90d", "365d")
    assert config.routes[0].read_upstream_password() is None
    assert (config.sign_in.passwords, config.sign_in.header) == (True, None)


def test_a_password_may_come_from_the_environment(folder: Path) -> None:
    text = route(**USER, upstream_password_env="GITPAT_TEST_PASSWORD")
    assert read(folder, text).routes[0].read_upstream_password() == "word"


def test_a_value_may_be_named_and_used_again(folder: Path) -> None:
    text = "routes: [{path: /, repositories: &r repositories}, {path: /a, repositories: *r}]"
    assert {route.repositories for route in read(folder, text).routes} == {folder / "repositories"}


@pytest.mark.parametrize(
    ("given", "path"),
    [("/a", "/a"), ("/a/", "/a"), ("/a/b", "/a/b"), ("/ü", "/ü"), ("/...", "/..."), ("/a/-", "/a/-")],
)
def test_route_paths_that_are_accepted(folder: Path, given: str, path: str) -> None:
    assert read(folder, route(path=given, repositories="repositories")).routes[0].path == path


URL = "an http:// or https:// address"
FOLDER_PATH = "a folder; a relative path is relative to this file"
FILE_PATH = "a file that can be read; a relative path is relative to this file"
POSITIVE = "a whole number from 1 on"
LIFETIME = "a duration as 90d or 12h, or never"
NO_LIFETIMES = ["", "90", "'90'", "1y", "0d", "forever", "2027-01-31", "999999w"]
# what is accepted, and what is not
VALUES = {
    "listen": (
        "host:port, [::1]:port or unix:PATH, or a list of them",
        [
            *("", "8418", "localhost", ":80", "'::1:80'", "1.2.3.4:65536", "[]", "[5]", "{}"),
            *("'unix:'", f"'unix:{'x' * 108}'", '"unix:a\\0b"'),
        ],
    ),
    "public_url": (URL, ["", "a", "ftp://a", "http://", "http://a:b@c", "http://a?b", "http://a#b"]),
    "database": ("sqlite:///PATH", ["", "gitpat.db", "sqlite://", "sqlite:///", "mysql:///x", "5"]),
    "tls": ("a certificate and a key", ["yes", "[]", "cert.pem"]),
    "trusted_proxies": ("a list of networks as 127.0.0.1/32", ["", "127.0.0.1", "{}"]),
    "trusted_proxies[0]": (
        "a list of networks as 127.0.0.1/32",
        ["[5]", "[10.0.0.1/8]", "[host]", "[0.0.0.0/0]", "['::/0']"],
    ),
    "workers": ("a whole number from 1 to 64", ["", "0", "65", "'1'"]),
    "missing_scope_status": ("401 or 403", ["", "404", "'401'"]),
    "scopes": ("scope names with a description each", ["", "[a]", "work"]),
    "scopes.a": ("scope names with a description each", ["{a: }", "{a: 5}"]),
    "scopes.listen": ("scope names with a description each", ["{listen: 5}"]),
    "routes": ("a list of routes, at least one", ["", "{path: /}"]),
    "routes[0]": ("a list of routes, at least one", ["[5]", "[[]]"]),
    "tokens": ("default_lifetime and longest_lifetime", ["", "90d"]),
    "tokens.default_lifetime": (LIFETIME, [f"{{default_lifetime: {text}}}" for text in NO_LIFETIMES]),
    "tokens.longest_lifetime": (LIFETIME, [f"{{longest_lifetime: {text}}}" for text in NO_LIFETIMES]),
    "limits": ("limits as in config.example.yaml", ["", "5"]),
    "limits.operations": (POSITIVE, ["{operations: 0}", "{operations: 1.5}", "{operations: yes}"]),
    "limits.push_bytes": (
        "a size as 512MiB or 2GiB",
        [
            "{push_bytes: 0}",
            "{push_bytes: yes}",
            "{push_bytes: 5GB}",
            "{push_bytes: -1}",
            "{push_bytes: 1.5GiB}",
        ],
    ),
    "drain_seconds": ("a whole number of seconds from 0 on", ["", "-1", "0.5", "'5'"]),
    "spool": ("a folder; a relative path is relative to this file", ["", "missing", "config.yaml"]),
    "socket.mode": (
        'a file\'s mode as "660"',
        ["{mode: 888}", "{mode: '66'}", "{mode: rw}", "{mode: '1777'}"],
    ),
    "socket.group": ("the name of a group", ["{group: there-is-none}", "{group: 5}"]),
    "limits.unknown_tokens": (POSITIVE, ["{unknown_tokens: -1}", "{unknown_tokens: '30'}"]),
    "sign_in": ("passwords and header", ["", "yes"]),
    "sign_in.passwords": ("true or false", ["{passwords: 1}", "{passwords: }"]),
    "sign_in.header": ("name, from and create_accounts", ["{header: X-User}", "{header: []}"]),
}
ROUTE_VALUES = {
    "path": (
        "a URL prefix that begins with / and not with /-, as / or /legacy",
        ["", "a", "//", "/a//b", "/../a", "/a/.", "/-", "/-/x", "5", "[/]"],
    ),
    "repositories": (FOLDER_PATH, ["5", "[a]", "~nobody-of-that-name/x"]),
    "dumb_protocol": ("true or false", ["", "1", "'yes'"]),
    "upstream": (URL, ["5", "host:3000", "ftp://host"]),
    "upstream_username": ("a name without colon", ["'a:b'", "''", "5"]),
    "upstream_password_file": (FILE_PATH, ["5"]),
    "upstream_password_env": ("the name of an environment variable", ["5"]),
    "upstream_ca_file": (FILE_PATH, ["{}"]),
    "upstream_timeout_seconds": ("a whole number of seconds from 1 on", ["", "0", "1.5", "'5'"]),
}


@pytest.mark.parametrize(("key", "value"), [(k, v) for k, (_, vs) in VALUES.items() for v in vs])
def test_a_wrong_value_is_named_with_what_is_accepted(folder: Path, key: str, value: str) -> None:
    top = re.split(r"[.\[]", key)[0]
    text = f"# a comment\n{top}: {value}\n"
    [problem] = problems(folder, text if top == "routes" else text + ROUTES)
    assert (problem.key, problem.line) == (key, 2)
    assert problem.message.endswith(f"accepted: {VALUES[key][0]}")


@pytest.mark.parametrize(("key", "value"), [(k, v) for k, (_, vs) in ROUTE_VALUES.items() for v in vs])
def test_a_wrong_value_in_a_route_is_named(folder: Path, key: str, value: str) -> None:
    keys = SERVER | {key: value}
    if key == "repositories":
        del keys["upstream"]
    [problem] = problems(folder, route(**keys))
    assert (problem.key, problem.line) == (f"routes[0].{key}", 2 + list(keys).index(key))
    assert problem.message.endswith(f"accepted: {ROUTE_VALUES[key][0]}")


ENTRY_VALUES = {
    "who": (
        "a list of accounts as alice, globs of them as svc-*, and groups",
        ["", "alice", "[]", "['@developers']", "['**']", "[-a]", "[a b]", "[5]", "[['a']]"],
    ),
    "repositories": (
        "a list of patterns as team/** and !team/secret",
        ["", "team/app", "[]", "['!team/app']", "[/a//b]", "[team/..]", "['']", "[5]"],
    ),
    "allow": ("code:read or code:write", ["", "code:admin", "[code:read]", "true"]),
    "refs": (
        "a list of rules as refs/heads/main=update or refs/tags/v*=create",
        ["", "refs/heads/main", "[]", "[5]", "['refs/**x']", "[refs//x]"],
    ),
}
ENTRY = {"who": "[alice]", "repositories": "[a]", "allow": "code:write"}


def access(**keys: str) -> str:
    """Return one rule with a line for each key, the first on line 2."""
    return "access:\n- " + "\n  ".join(f"{key}: {value}" for key, value in keys.items()) + "\n"


@pytest.mark.parametrize(("key", "value"), [(k, v) for k, (_, vs) in ENTRY_VALUES.items() for v in vs])
def test_a_wrong_value_in_a_rule_is_named(folder: Path, key: str, value: str) -> None:
    keys = ENTRY | {key: value}
    [problem] = problems(folder, access(**keys) + ROUTES)
    assert problem.key.startswith(f"access[0].{key}")
    assert problem.line == 2 + list(keys).index(key)
    assert problem.message.endswith(f"accepted: {ENTRY_VALUES[key][0]}")


@pytest.mark.parametrize("key", ["access", "access_file", "groups"])
def test_a_key_that_limits_is_not_left_empty(folder: Path, key: str) -> None:
    """Whoever comments out all that stands below it does not mean to open everything."""
    [problem] = problems(folder, f"{key}:\n# - nothing\n{ROUTES}")
    assert (problem.key, problem.line) == (key, 1)
    assert "nothing is given; leave the key out" in problem.message


TWICE = ("routes[2].path", 5, "/a is the path of routes[1] already")
NUMBER = "this number can't be used here; accepted: "
# text, key, line, message
MISTAKES = [
    # kinds of values, in our words
    (f"{ROUTES}workers: 65\n", "workers", 2, f"{NUMBER}a whole number from 1 to 64"),
    (f"{ROUTES}limits: {{operations: 1.5}}\n", "limits.operations", 2, f"{NUMBER}a whole number from 1"),
    (f"{ROUTES}tls: yes\n", "tls", 2, "true or false can't be used here; accepted: a certificate and"),
    (f"{ROUTES}tls: []\n", "tls", 2, "a list can't be used here; accepted: a certificate and a key"),
    (f"{ROUTES}tokens: 90d\n", "tokens", 2, "this text can't be used here; accepted: default_lifetime"),
    (f"{ROUTES}public_url: 2026-01-01\n", "public_url", 2, "a date can't be used here; accepted: an ht"),
    (f"{ROUTES}public_url: 2026-01-01 1:00:00\n", "public_url", 2, "a time can't be used here; accep"),
    (f"{ROUTES}limits: {{operations: !!binary aa==}}\n", "limits.operations", 2, "this value can't be"),
    (f"{ROUTES}tokens:\n", "tokens", 2, "nothing is given; accepted: default_lifetime and longest_lif"),
    ("routes: {path: /}\n", "routes", 1, "a mapping can't be used here; accepted: a list of routes"),
    (route(**SERVER, upstream_username="a:b"), "routes[0].upstream_username", 4, "this text can't be"),
    # the file
    ("", "routes", 1, "required and not there; accepted: a list of routes, at least one"),
    ("# nothing\n", "routes", 1, "required and not there; accepted: a list of routes, at least one"),
    ("- a\n", "", 1, "the file must hold keys, as config.example.yaml does"),
    ("word", "", 1, "the file must hold keys, as config.example.yaml does"),
    ("a: [\n", "", 2, "no valid YAML: expected the node content, but found '<stream end>'"),
    ("\n\na: b: c\n", "", 3, "no valid YAML: mapping values are not allowed here"),
    ("a: \x07", "", 1, "no valid YAML: special characters"),
    (f"{ROUTES}---\n{ROUTES}", "", 2, "no valid YAML: but found another document"),
    (f"{ROUTES}a: !!python/name:os.system\n", "", 2, "no valid YAML: could not determine a constructor"),
    (f"{ROUTES}? [a]\n: b\n", "", 2, "no valid YAML: found unhashable key"),
    # keys
    (f"{ROUTES}listne: x\n", "listne", 2, "unknown key; did you mean listen? accepted here: listen, "),
    (f"{ROUTES}zzz: x\n", "zzz", 2, "unknown key; accepted here: listen, public_url, database, tls"),
    (f"{ROUTES}1: x\n", "1", 2, "unknown key"),
    (f"{ROUTES}on: x\n", "on", 2, "unknown key"),
    (f"{ROUTES}scopes: {{1: One}}\n", "scopes.1", 2, "accepted: "),
    (f"{ROUTES}~: x\n", "~", 2, "unknown key"),
    (f"limits:\n  x: 1\n{ROUTES}", "limits.x", 2, "unknown key; accepted here: operations, operations"),
    (route(**FOLDER, upstrem="x"), "routes[0].upstrem", 4, "unknown key; did you mean upstream?"),
    (f"{ROUTES}workers: 1\nworkers: 1\n", "workers", 2, "given again on line 3; give it once"),
    (f"{ROUTES}{ROUTES}", "routes", 1, "given again on line 2; give it once"),
    (route(path="/a\n  path: /b", repositories="."), "routes[0].path", 2, "given again on line 3"),
    ("routes:\n- repositories: repositories\n", "routes[0].path", 2, "required and not there; accepted"),
    (f"tls: {{certificate: password}}\n{ROUTES}", "tls.key", 1, "required and not there; accepted: "),
    # what a value refers to
    (f"tls:\n  certificate: x\n  key: password\n{ROUTES}", "tls.certificate", 2, "can't be read"),
    (f"tls: {{certificate: password, key: .}}\n{ROUTES}", "tls.key", 1, "can't be read: Is a directory"),
    (f"{ROUTES}scopes: {{a: ' '}}\n", "scopes.a", 2, "the description is empty; it is shown to people"),
    (f"{ROUTES}scopes:\n  a: A\n  code:x: B\n", "scopes.code:x", 4, "code:x is a name that gitpat-"),
    (f"{ROUTES}scopes: {{A b: c}}\n", "scopes.A b", 2, "'A b' is no scope name; accepted: lower-case"),
    *[
        (f"{ROUTES}tokens: {{{text}}}\n", "tokens.default_lifetime", 2, message)
        for text, message in [
            ("default_lifetime: 366d", "366d is longer than longest_lifetime (365d)"),
            ("default_lifetime: never", "never is longer than longest_lifetime (365d)"),
            ("longest_lifetime: 89d", "90d is longer than longest_lifetime (89d)"),
        ]
    ],
    (f"{ROUTES}sign_in: {{passwords: no}}\n", "sign_in.passwords", 2, "nobody could sign in; set it to"),
    # what accounts may do
    (f"{ROUTES}groups: {{a b: [alice]}}\n", "groups.a b", 2, "'a b' can't be the name of a group; acc"),
    (f"{ROUTES}groups: {{dev: []}}\n", "groups.dev", 2, "an empty list names nobody; accepted: names"),
    (f"{ROUTES}groups: {{dev: [alice]}}\n", "groups", 2, "has no effect without access; without it ev"),
    (f"{ROUTES}access_file: 5\n", "access_file", 2, "this number can't be used here; accepted: the pa"),
    (access(who="[a]", allow="code:read") + ROUTES, "access[0].repositories", 2, "required and not the"),
    (
        access(**ENTRY, ref="[a]") + ROUTES,
        "access[0].ref",
        5,
        "unknown key; did you mean refs? accepted",
    ),
    (
        access(**ENTRY, refs="[main]") + ROUTES,
        "access[0].refs",
        5,
        "'main' is no full name of a ref; acc",
    ),
    (access(**ENTRY, refs="[refs/heads/a=push]") + ROUTES, "access[0].refs", 5, "'push' is no verb for"),
    (
        access(**ENTRY | {"allow": "code:read"}, refs="['refs/**']") + ROUTES,
        "access[0].refs",
        5,
        "has no effect: allow: code:read lets nobody push",
    ),
    (
        f"groups:\n  dev: [alice]\n  all:\n  - bob\n  - dev\naccess: []\n{ROUTES}",
        "groups.all[1]",
        5,
        "dev is a group, and groups have accounts only; name those, or both groups in `who`",
    ),
    *[
        (
            f"{ROUTES}access_file: x\n{key}: {value}\n",
            key,
            3,
            "stands in the file that access_file names",
        )
        for key, value in [("groups", "{dev: [alice]}"), ("groups", "{}"), ("access", "[]")]
    ],
    # routes
    ("routes: []\n", "routes", 1, "needs at least one route: without any, nothing is served"),
    (route(path="/"), "routes[0]", 2, "needs one of repositories (a folder) and upstream"),
    (route(**FOLDER, upstream="http://host"), "routes[0]", 2, "needs one of repositories (a folder)"),
    (route(path="/", repositories="nowhere"), "routes[0].repositories", 3, "/nowhere is not a folder"),
    (route(path="/", repositories="password"), "routes[0].repositories", 3, "/password is not a folder"),
    (f"{route(**FOLDER)}- {{path: /a, repositories: .}}\n- {{path: /a/, repositories: .}}\n", *TWICE),
    *[
        (route(**FOLDER, **{key: value}), f"routes[0].{key}", 4, "has no effect without upstream")
        for key, value in [
            ("upstream_username", "a"),
            ("upstream_password_file", "password"),
            ("upstream_password_env", "GITPAT_TEST_PASSWORD"),
            ("upstream_ca_file", "password"),
            ("upstream_timeout_seconds", "60"),
        ]
    ],
    *[
        (route(**keys, **{key: value}), f"routes[0].{key}", 2 + len(keys), message)
        for keys, key, value, message in [
            (SERVER, "upstream_username", "a", "needs upstream_password_file or upstream_password_env"),
            (SERVER, "upstream_password_file", "password", "needs upstream_username beside it"),
            (SERVER, "upstream_password_env", "GITPAT_TEST_PASSWORD", "needs upstream_username beside"),
            (SERVER, "upstream_ca_file", "nowhere", "nowhere can't be read: No such file"),
            (USER, "upstream_password_file", "nowhere", "can't be read: No such file"),
            (USER, "upstream_password_file", "repositories", "can't be read: Is a directory"),
            (USER, "upstream_password_file", "binary", "can't be read: it is no text in UTF-8"),
            (USER, "upstream_password_file", "empty", "empty is empty; accepted: a file"),
            (USER, "upstream_password_env", "GITPAT_TEST_EMPTY", "GITPAT_TEST_EMPTY, or it is empty"),
            (USER, "upstream_password_env", "GITPAT_TEST_NONE", "there is no environment variable "),
            (
                USER | {"upstream_password_file": "password"},
                "upstream_password_env",
                "GITPAT_TEST_PASSWORD",
                "give this or upstream_password_file, not both",
            ),
        ]
    ],
]


@pytest.mark.parametrize(("text", "key", "line", "message"), MISTAKES)
def test_a_mistake_is_named_with_key_and_line(
    folder: Path, text: str, key: str, line: int, message: str
) -> None:
    [problem] = problems(folder, text)
    assert (problem.key, problem.line) == (key, line)
    assert message in problem.message
    assert str(problem) == f"{folder}/config.yaml:{line}: {key + ': ' if key else ''}{problem.message}"
    assert "\n" not in str(problem)
    assert problem.message.count("; accepted: ") <= 1


def test_a_file_that_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: there is no such file; name one"):
        load(folder / "nowhere.yaml")
    with pytest.raises(ConfigError, match=r"binary: can't be read: it is no text in UTF-8$"):
        load(folder / "binary")
    with pytest.raises(ConfigError, match=f"^{folder}: can't be read: Is a directory$"):
        load(folder)


LOCAL = ["127.0.0.1:80", "127.9.9.9:80", "[::1]:80", "localhost:80", "unix:socket"]
REACHED = ["0.0.0.0:80", "192.0.2.7:80", "[::]:80", "[2001:db8::1]:80", "example.org:80"]
COVERED = ["tls: {certificate: password, key: password}", "trusted_proxies: [192.0.2.1/32]"]


@pytest.mark.parametrize("address", LOCAL)
def test_plain_http_is_for_this_machine(folder: Path, address: str) -> None:
    assert str(read(folder, f"{ROUTES}listen: '{address}'\n").listen[0]).endswith(address[-6:])


@pytest.mark.parametrize("cover", [*COVERED, "\n".join(COVERED)])
@pytest.mark.parametrize("address", REACHED)
def test_what_others_reach_needs_tls_here_or_in_front(folder: Path, address: str, cover: str) -> None:
    assert read(folder, f"{ROUTES}listen: '{address}'\n{cover}\n").listen


@pytest.mark.parametrize(
    "cover", ["", "trusted_proxies: []\n", "tls: ~\n", "public_url: https://host\n"]
)
@pytest.mark.parametrize("address", REACHED)
def test_a_token_never_crosses_a_network_in_clear(folder: Path, address: str, cover: str) -> None:
    text = f"{ROUTES}{cover}listen: ['127.0.0.1:80', '{address}']\n"
    [problem] = problems(folder, text)
    assert (problem.key, problem.line) == ("listen", 2 + cover.count("\n"))
    assert problem.message.startswith(f"{address} is plain HTTP that others can reach: tokens would")


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(folder: Path) -> None:
    text = """\
listen: 0.0.0.0:80
databse: x
workers: 0
workers: 0
missing_scope_status: 404
scopes: {admin: x, a: ' '}
tokens: {default_lifetime: 2d, longest_lifetime: 1d}
limits: {operations: 0}
routes:
  - {path: /a, repositories: repositories}
  - {path: /b, upstream: ftp://host}
  - {path: /a}
  - {path: /-, repositories: .}
"""
    assert [(problem.line, problem.key) for problem in problems(folder, text)] == [
        (1, "listen"),
        (2, "databse"),
        (3, "workers"),
        (3, "workers"),
        (5, "missing_scope_status"),
        (6, "scopes.admin"),
        (6, "scopes.a"),
        (7, "tokens.default_lifetime"),
        (8, "limits.operations"),
        (11, "routes[1].upstream"),
        (12, "routes[2].path"),
        (12, "routes[2]"),
        (13, "routes[3].path"),
    ]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (f"{ROUTES}listen: 0.0.0.0:80\ntrusted_proxies: [10.0.0.1/8]\n", "trusted_proxies[0]"),
        (f"{ROUTES}listen: 0.0.0.0:80\ntls: yes\n", "tls"),
        (f"{ROUTES}tokens: {{default_lifetime: 900d, longest_lifetime: 5}}", "tokens.longest_lifetime"),
        (f"{ROUTES}tokens: {{default_lifetime: 5, longest_lifetime: 1d}}", "tokens.default_lifetime"),
        (
            route(path="/", upstream="5", upstream_username="a", upstream_password_file="password"),
            "routes[0].upstream",
        ),
        (route(**USER, upstream_password_file="5"), "routes[0].upstream_password_file"),
        ("routes:\n- 5\n- {path: /, repositories: .}\n", "routes[0]"),
    ],
)
def test_one_mistake_makes_no_others(folder: Path, text: str, key: str) -> None:
    assert [problem.key for problem in problems(folder, text)] == [key]


def test_a_misplaced_key_hides_no_other_mistake(folder: Path) -> None:
    text = f"{ROUTES}path: /x\nupstream: http://host\nlisten: 0.0.0.0:80\n"
    assert [problem.key for problem in problems(folder, text)] == ["path", "upstream", "listen"]


def test_a_mistake_does_not_move_the_next_one(folder: Path) -> None:
    text = "routes:\n- 5\n- {path: /a, repositories: .}\n- {path: /b, repositories: nowhere}\n"
    found = [(problem.line, problem.key) for problem in problems(folder, text)]
    assert found == [(2, "routes[0]"), (4, "routes[2].repositories")]


KEYS = [
    *Config.model_fields,
    *RouteConfig.model_fields,
    "certificate",
    "longest_lifetime",
    "header",
    "from",
    "x",
    "on",
    "1",
]
WORDS = ["", "/", "[]", "{}", "~x/y", "&a [*a]", "90d", "http://a", "[::1]:80", "'", "<<: x", r'"\0"']
VALUE = st.sampled_from(WORDS) | st.text(max_size=5)
LINE = st.tuples(st.sampled_from(["", "  ", "- ", "  - "]), st.sampled_from(KEYS), VALUE)


@settings(deadline=None)
@given(st.lists(LINE, max_size=8))
def test_any_text_is_a_configuration_or_a_list_of_mistakes(lines: list[tuple[str, str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "config.yaml")
        file.write_text("".join(f"{indent}{key}: {value}\n" for indent, key, value in lines), "utf-8")
        try:
            found = load(file).routes
        except ConfigError as error:
            found = error.problems
        assert found


@pytest.mark.parametrize(
    "text",
    [
        "routes: &a [*a]\n",
        f'{ROUTES}tls: {{certificate: "\\0", key: password}}\n',
        route(**USER, upstream_password_file=r'"\0"'),
        route(**USER, upstream_password_file=r'"\ud800"'),
        *[f"a: !!{tag}\n" for tag in ("bool x", "int ''", "timestamp x", "float x", "set x")],
        f"{ROUTES}spool: {'a' * 300}\n",
        f'{ROUTES}public_url: "http://host/a\\n"\n',
        "[" * 2000,
    ],
)
def test_what_nobody_would_write_is_a_mistake_like_others(folder: Path, text: str) -> None:
    assert problems(folder, text)


@pytest.mark.parametrize(
    ("text", "key", "message"),
    [
        (
            "{haeder: {}}",
            "sign_in.haeder",
            "unknown key; did you mean header? accepted here: passwords, h",
        ),
        ("{header: 5}", "sign_in.header", "this number can't be used here; accepted: name, from and"),
        ("{header: {}}", "sign_in.header.from", "required and not there; accepted: a list of the netwo"),
        (
            "{header: {from: [x]}}",
            "sign_in.header.from[0]",
            "accepted: a list of the networks of the si",
        ),
        (
            "{header: {from: []}}",
            "sign_in.header.from",
            "an empty list believes nobody; name the networ",
        ),
        (
            "{header: {from: [10.0.0.1], z: 1}}",
            "sign_in.header.z",
            "unknown key; accepted here: name, from, c",
        ),
        (
            "{header: {from: [10.0.0.1], frm: 1}}",
            "sign_in.header.frm",
            "did you mean from? accepted here",
        ),
        (
            "{header: {from: [10.0.0.1], from_: 1}}",
            "sign_in.header.from_",
            "did you mean from? accepted here",
        ),
        (
            "{header: {from: [10.0.0.1], name: a b}}",
            "sign_in.header.name",
            "no header's name; accepted: a head",
        ),
    ],
)
def test_a_section_in_a_section_is_read_as_others(
    folder: Path, text: str, key: str, message: str
) -> None:
    """And hides no mistake between the keys of others."""
    listen, problem = problems(folder, f"listen: 0.0.0.0:80\nsign_in: {text}\n{ROUTES}")
    assert (problem.key, problem.line, listen.key) == (key, 2, "listen")
    assert message in problem.message


def test_keys_are_called_what_people_type() -> None:
    assert list(keys_of(HeaderSignIn)) == ["name", "from", "create_accounts"]
