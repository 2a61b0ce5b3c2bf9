"""A real Apache httpd as somebody's existing Git server."""

import base64
import hashlib
import subprocess
from pathlib import Path

from tests.support.proxy import free_port, wait_until
from tests.support.raw import accepts

_CONFIG = """
ServerRoot {folder}
ServerName localhost
User www-data
Group www-data
Listen 127.0.0.1:{port}
PidFile {folder}/pid
ErrorLog {folder}/error.log
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authn_core_module {modules}/mod_authn_core.so
LoadModule authn_file_module {modules}/mod_authn_file.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule authz_user_module {modules}/mod_authz_user.so
LoadModule auth_basic_module {modules}/mod_auth_basic.so
LoadModule alias_module {modules}/mod_alias.so
LoadModule env_module {modules}/mod_env.so
LoadModule cgid_module {modules}/mod_cgid.so
LogFormat "%{{Authorization}}i %{{Cookie}}i %r" seen
CustomLog {folder}/access.log seen
ScriptSock {folder}/cgid.sock
SetEnv GIT_PROJECT_ROOT {repositories}
SetEnv GIT_HTTP_EXPORT_ALL
ScriptAlias /git/ /usr/lib/git-core/git-http-backend/
Redirect 302 /moved/ http://127.0.0.1:{port}/git/
<Directory "/usr/lib/git-core">
    AuthType Basic
    AuthName "Apache's own realm"
    AuthUserFile {folder}/passwords
    Require valid-user
</Directory>
"""
# htpasswd's {SHA} of "upstream's own: pässword".
PASSWORD = "upstream's own: pässword"
MODULES = Path("/usr/lib/apache2/modules")


class Apache:
    """Serves a folder of repositories under /git/ to the user `proxy`."""

    def __init__(self, folder: Path, repositories: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/git"
        self.access_log = folder / "access.log"
        folder.mkdir()
        folder.chmod(0o755)
        passwords = folder / "passwords"
        passwords.write_text(f"proxy:{_hash(PASSWORD)}\n")
        config = folder / "httpd.conf"
        config.write_text(
            _CONFIG.format(folder=folder, port=self.port, repositories=repositories, modules=MODULES)
        )
        with (folder / "output").open("wb") as output:
            self._process = subprocess.Popen(
                ["/usr/sbin/apache2", "-f", str(config), "-DFOREGROUND"],
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        wait_until(lambda: accepts(self.port), what=f"Apache: {(folder / 'output').read_text()}")

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(20)


def _hash(password: str) -> str:
    return "{SHA}" + base64.b64encode(hashlib.sha1(password.encode()).digest()).decode()
