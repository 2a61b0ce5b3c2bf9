"""`gitpat-proxy account password` and `import-htpasswd`: who may sign in."""

import json
import os
import signal
import subprocess
from ipaddress import ip_address

import pytest

from gitpat_proxy.cli.context import Services
from gitpat_proxy.services.clock import utc_now
from gitpat_proxy.services.passwords import Passwords
from gitpat_proxy.services.sign_in import SignIn, Visit, WrongPasswordError
from gitpat_proxy.store.database import Database
from tests.cli.program import Run, run, typed
from tests.services.signing_in import HTPASSWD, OTHER_PASSWORD, PASSWORD, WRONG
from tests.support.proxy import PROGRAM, Proxy

VISIT = Visit(ip_address("192.0.2.1"), "Firefox", None, "r-1")
WHO = "the user who runs this must be able to"
KINDS = ("bcrypt", "sha512-crypt", "apr1", "sha1")


def signs_in(proxy: Proxy, name: str, password: str) -> bool:
    """Sign in as the pages do."""

    async def action(_: Services) -> bool:
        async with Database(f"sqlite:///{proxy.folder}/gitpat.db") as database:
            sign_in = SignIn(database, utc_now, Passwords(), answer_seconds=0)
            try:
                await sign_in.by_password(name, password, VISIT)
            except WrongPasswordError:
                return False
            return True

    return proxy.services(action)


def has_password(proxy: Proxy) -> dict[str, bool]:
    return {row["name"]: row["has_password"] for row in run(proxy, "account", "list", "--json").json}


def password_typed(proxy: Proxy, first: str, again: str) -> tuple[Run, str]:
    """Set alice's password at a terminal; return also what the terminal showed."""
    answers = {"New password of alice: ": first, "Again: ": again}
    return typed(proxy, "account", "password", "alice", answers=answers)


def test_an_account_is_added_with_a_password(proxy: Proxy) -> None:
    added = run(proxy, "account", "add", "bob", "--password-stdin", stdin=f"{PASSWORD}\r\nrest\n")
    assert (added.code, added.out, added.err) == (0, "", "The account bob is there.\n")
    assert has_password(proxy) == {"alice": False, "bob": True}
    assert signs_in(proxy, "bob", PASSWORD)
    assert not signs_in(proxy, "bob", WRONG)


@pytest.mark.parametrize(
    ("arguments", "stdin", "sentence"),
    [
        (["--password-stdin"], "short\n", "a password has 10 to 256 characters"),
        (["--password-stdin"], "", "a password has 10 to 256 characters"),
        (
            ["--password-stdin"],
            "1234567890\n",
            "this password is among the most common ones, which are ",
        ),
        (
            ["--service", "--password-stdin"],
            f"{PASSWORD}\n",
            "bob is a service: it has no password and can't sign in",
        ),
    ],
)
def test_what_can_not_be_a_password_adds_nothing(
    proxy: Proxy, arguments: list[str], stdin: str, sentence: str
) -> None:
    found = run(proxy, "account", "add", "bob", *arguments, stdin=stdin)
    assert found.refusal.startswith(sentence)
    assert has_password(proxy) == {"alice": False}


def test_a_password_is_set_from_standard_input_without_being_shown(proxy: Proxy) -> None:
    for password in (PASSWORD, OTHER_PASSWORD):
        found = run(proxy, "account", "password", "alice", "--password-stdin", stdin=f"{password}\n")
        sentence = "alice can sign in with the new password; other sessions ended.\n"
        assert (found.code, found.out, found.err) == (0, "", sentence)
    assert signs_in(proxy, "alice", OTHER_PASSWORD)
    assert not signs_in(proxy, "alice", PASSWORD)
    shown = run(proxy, "account", "password", "alice", "--password-stdin", "--json", stdin=PASSWORD)
    assert (shown.json["name"], shown.json["has_password"]) == ("alice", True)
    assert PASSWORD not in shown.out
    assert signs_in(proxy, "alice", PASSWORD)


def test_what_can_not_be_set_is_told(proxy: Proxy) -> None:
    run(proxy, "account", "add", "ci", "--service")
    for arguments, stdin, sentence in [
        (
            ["bob", "--password-stdin"],
            f"{PASSWORD}\n",
            "there is no account bob; `account list` shows all",
        ),
        (["ci", "--password-stdin"], f"{PASSWORD}\n", "ci is a service: it has no password"),
        (["alice", "--password-stdin"], "short\n", "a password has 10 to 256 characters"),
        (
            ["alice"],
            f"{PASSWORD}\n",
            "there is no terminal to ask at; give the password with --password-",
        ),
    ]:
        found = run(proxy, "account", "password", *arguments, stdin=stdin)
        assert found.refusal.startswith(sentence)
    assert has_password(proxy) == {"alice": False, "ci": False}


def test_a_password_is_asked_for_twice_at_a_terminal_and_not_shown(proxy: Proxy) -> None:
    differs, shown = password_typed(proxy, PASSWORD, OTHER_PASSWORD)
    assert differs.code == 1
    assert differs.err.endswith("gitpat-proxy: the two are not the same; nothing was changed\n")
    assert PASSWORD not in shown + differs.err + differs.out
    assert has_password(proxy) == {"alice": False}
    done, shown = password_typed(proxy, PASSWORD, PASSWORD)
    assert done.code == 0
    assert PASSWORD not in shown + done.err + done.out
    assert signs_in(proxy, "alice", PASSWORD)


def test_the_people_of_an_htpasswd_file_sign_in_with_what_they_have(proxy: Proxy) -> None:
    file = proxy.folder / "users"
    file.write_bytes("".join(f"{kind}:{HTPASSWD[kind]}\r\n" for kind in KINDS).encode())
    done = run(proxy, "account", "import-htpasswd", str(file))
    sentence = f"{', '.join(KINDS)} can sign in with the password that is in the file.\n"
    assert (done.code, done.out, done.err) == (0, "", sentence)
    for name in KINDS:
        assert signs_in(proxy, name, PASSWORD)
        assert not signs_in(proxy, name, WRONG)
    again = run(proxy, "account", "import-htpasswd", str(file), "--json")
    assert again.code == 1
    assert again.out == "[]\n"
    assert again.err.splitlines() == [
        f"{file}: line {number}: {name} has a password already; left out"
        for number, name in enumerate(KINDS, 1)
    ]


def test_lines_that_can_not_be_used_are_left_out_by_their_number(proxy: Proxy) -> None:
    file = proxy.folder / "users"
    file.write_text(f"# ours\nplain:{PASSWORD}\n\nbob:{HTPASSWD['sha1']}\na b:{HTPASSWD['sha1']}\n")
    found = run(proxy, "account", "import-htpasswd", str(file))
    assert (found.code, found.out) == (1, "")
    plain, name, done = found.err.splitlines()
    assert plain == (
        f"{file}: line 2: the password of plain is kept in a form that can't be used; left out"
    )
    assert name.startswith(f"{file}: line 5: 'a b' can't be an account's name; ")
    assert done == "bob can sign in with the password that is in the file."
    assert PASSWORD not in found.err
    assert has_password(proxy) == {"alice": False, "bob": True}


def test_a_file_that_is_none_is_told(proxy: Proxy) -> None:
    binary = proxy.folder / "binary"
    binary.write_bytes(b"bob:\xff\n")
    for path, sentence in [
        (binary, f"{binary} is no text in UTF-8; `htpasswd` writes one line for each name"),
        (
            proxy.folder / "none",
            f"{proxy.folder / 'none'} can't be read: No such file or directory; {WHO}",
        ),
        (proxy.folder, f"{proxy.folder} can't be read: Is a directory; {WHO}"),
    ]:
        assert run(proxy, "account", "import-htpasswd", str(path)).refusal == sentence
    empty = proxy.folder / "empty"
    empty.touch()
    done = run(proxy, "account", "import-htpasswd", str(empty))
    assert (done.code, done.err) == (0, "Nobody can sign in with the password that is in the file.\n")


def test_an_account_becomes_an_administrator(proxy: Proxy) -> None:
    proxy.ok("account", "add", "zoe")
    edited = json.loads(proxy.ok("account", "edit", "zoe", "--admin", "--json"))
    assert edited["administrator"] is True
    proxy.ok("account", "edit", "zoe", "--no-admin")
    zoe = json.loads(proxy.ok("account", "list", "--json"))[-1]
    assert (zoe["name"], zoe["administrator"]) == ("zoe", False)
    assert proxy.cli("account", "edit", "zoe").code == 2


def test_ctrl_c_ends_the_prompt(proxy: Proxy) -> None:
    """It did nothing while an event loop was running around the prompt."""
    _, other_end = os.openpty()
    command = [PROGRAM, "--config", str(proxy.config_file), "account", "password", "alice"]
    with subprocess.Popen(
        command, stdin=other_end, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stderr
        assert process.stderr.read(len("New password of alice: "))
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
