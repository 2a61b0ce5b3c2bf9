"""`audit verify`, and an audit that is kept for so long only."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.support.proxy import Proxy, wait_until


def change(proxy: Proxy, statement: str) -> None:
    with closing(sqlite3.connect(proxy.folder / "gitpat.db")) as connection, connection:
        connection.execute(statement)


def test_the_chain_is_followed_and_a_change_named(tmp_path: Path) -> None:
    proxy = Proxy(tmp_path / "proxy")
    proxy.ok("database", "upgrade")
    proxy.make_token("code:read")
    said = proxy.ok("audit", "verify")
    assert said.startswith("2 events, each as it was written. The end: 2:")
    noted = said.split()[-1]
    found = json.loads(proxy.ok("audit", "verify", "--noted", noted, "--json"))
    assert found == {"events": 2, "end": noted, "broken": None}
    change(proxy, "UPDATE audit SET account = 'mallory' WHERE id = 2")
    broken = proxy.cli("audit", "verify")
    assert broken.code == 1
    assert "the record 2 of" in broken.text
    assert "was changed; the 1 before are as they were written" in broken.text
    wrong = proxy.cli("audit", "verify", "--noted", "2:short")
    assert (wrong.code, "no end that `audit verify` printed" in wrong.text) == (2, True)


def test_what_is_older_is_removed_while_it_serves(tmp_path: Path) -> None:
    proxy = Proxy(tmp_path / "proxy", audit={"keep": "400d"})
    proxy.ok("database", "upgrade")
    proxy.make_token("code:read")
    change(proxy, "UPDATE audit SET at = at - 401 * 86400000000 WHERE id = 1")
    proxy.start()
    try:
        wait_until(lambda: proxy.log_lines("audit_pruned"), what="the pruning")
        [line] = proxy.log_lines("audit_pruned")
        assert line["events"] == 1
        assert proxy.ok("audit", "verify").startswith("1 events, each as it was written.")
    finally:
        proxy.stop()
