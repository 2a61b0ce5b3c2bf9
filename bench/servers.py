"""The servers that are compared: each started from a configuration file of its own, and ended."""

import base64
import http.client
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path

import psutil

from bench.accounting import Accounting, accounting, settle
from bench.errors import BenchError, MissingError
from bench.surroundings import PROJECT, git_environment, program
from gitpat_proxy.access.secret import make_secret

USERNAME = "bench"
_START_SECONDS = 20.0
_STOP_SECONDS = 10.0
_FORKING_SECONDS = 0.5


# As where it is installed: with its bytecode at hand.
_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


class Server(ABC):
    """One server over a folder of repositories; `folder` is its own, for all that it writes.

    Making one raises MissingError if a program that it consists of is not installed.
    """

    name: str
    reaps_its_children = True
    ready_path = ""
    """Where it answers as soon as it can serve, whatever it answers, but for "not yet" (503)."""
    ready_seconds = 0.0
    """How long it took to get ready when it was last started."""

    def __init__(self, folder: Path, repositories: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.repositories = repositories
        self.port = _free_port()
        self.secret = secrets.token_urlsafe(24)
        self.wrong_secret = secrets.token_urlsafe(24)
        self._processes: list[subprocess.Popen[bytes]] = []

    @abstractmethod
    def commands(self) -> Sequence[Sequence[str]]:
        """Return what to start, in this order; each stays in the foreground."""

    def file_owner(self) -> int | None:
        """Return whom the repositories that are pushed to must belong to; None: who runs the bench."""
        return None

    @cached_property
    def accounting(self) -> Accounting:
        return accounting(self.folder.name)

    @property
    def main_process_id(self) -> int:
        return self._processes[0].pid

    @property
    def cpu_is_counted(self) -> bool:
        return self.accounting.counts_orphans or self.reaps_its_children

    def url(self, repository: str) -> str:
        """Return an address without a username: with one alone git tries an empty password first, and
        lighttpd takes a second for the answer to a wrong one.
        """
        return f"http://127.0.0.1:{self.port}/{repository}"

    def authorization(self, secret: str) -> str:
        return "Basic " + base64.b64encode(f"{USERNAME}:{secret}".encode()).decode()

    def start(self) -> None:
        """Start it and wait until it answers; raise BenchError with its own words if it does not."""
        begin = time.monotonic()
        for command in self.commands():
            with (self.folder / "output.log").open("ab") as log:
                process = subprocess.Popen(
                    self.accounting.command(command),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self.folder,
                    env=_ENVIRONMENT | {"PYTHONUNBUFFERED": "1"},
                    # Ctrl-C reaches only the bench, which then ends its servers in order.
                    start_new_session=True,
                )
            self._processes.append(process)
            self.accounting.started(process.pid)
        self._wait_until_it_answers()
        self.ready_seconds = time.monotonic() - begin
        # Apache listens before its processes are all there, and memory is that of all.
        time.sleep(_FORKING_SECONDS)

    def stop(self) -> None:
        """End it with all that it started; may be called again."""
        before = self._living()
        for process in reversed(self._processes):
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_SECONDS)
        remaining = {*before, *self._living()}
        for left in remaining:
            with suppress(psutil.Error):
                left.kill()
        psutil.wait_procs(remaining, timeout=_STOP_SECONDS)
        for process in self._processes:
            process.wait()
        self._processes.clear()

    def close(self) -> None:
        """Stop it, and remove what it wrote."""
        self.stop()
        self.accounting.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def restart(self) -> None:
        self.stop()
        self.start()

    def cpu_seconds(self) -> float:
        """Return the CPU time used so far, with that of the CGI programs, once they have ended."""
        settle(self.accounting)
        return self.accounting.cpu_seconds()

    def status(self, path: str, authorization: str | None) -> int:
        """Return the status of the answer to one GET."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            headers = {"Authorization": authorization} if authorization else {}
            connection.request("GET", f"/{path}", headers=headers)
            return connection.getresponse().status
        finally:
            connection.close()

    def check(self, repository: str) -> None:
        """Raise BenchError unless it lets in who it should, and nobody else."""
        path = f"{repository}/info/refs?service=git-upload-pack"
        for authorization, wanted in (
            (None, 401),
            (self.authorization(self.wrong_secret), 401),
            (self.authorization(self.secret), 200),
        ):
            if (status := self.status(path, authorization)) != wanted:
                raise BenchError(f"it answers {status} instead of {wanted}; {self._last_words()}")

    def _living(self) -> set[psutil.Process]:
        """psutil's objects know a process from a later one with the same id."""
        found = set()
        for process_id in self.accounting.processes():
            with suppress(psutil.Error):
                found.add(psutil.Process(process_id))
        return found

    def _wait_until_it_answers(self) -> None:
        end = time.monotonic() + _START_SECONDS
        while time.monotonic() < end:
            if any(process.poll() is not None for process in self._processes):
                raise BenchError(f"it ended at once; {self._last_words()}")
            with suppress(OSError, http.client.HTTPException):
                if self.status(self.ready_path, None) != 503:
                    return
            time.sleep(0.005)
        raise BenchError(f"it does not answer; {self._last_words()}")

    def _last_words(self) -> str:
        lines: list[str] = []
        for log in ("output.log", "error.log"):
            with suppress(OSError):
                lines += (self.folder / log).read_text(errors="replace").splitlines()[-3:]
        return "its log: " + (" / ".join(lines) or "empty")


class GitpatProxy(Server):
    """The proxy as its users set it up, through its own command line."""

    name = "gitpat-proxy"
    ready_path = "-/ready"

    def __init__(self, folder: Path, repositories: Path) -> None:
        super().__init__(folder, repositories)
        # The proxy does not look up what can't be a token, so the wrong one has a token's form.
        self.wrong_secret = make_secret()
        self._config = folder / "config.yaml"
        self._config.write_text(
            f"listen: 127.0.0.1:{self.port}\n"
            f"public_url: http://127.0.0.1:{self.port}\n"
            f"routes:\n  - path: /\n    repositories: {repositories}\n"
            # All clients of the bench come from one address, with one token.
            "limits: {operations: 300, operations_per_token: 300, operations_per_address: 300}\n"
        )
        self._run("database", "upgrade")
        self._run("account", "add", USERNAME)
        self.secret = self._run(
            "token", "create", "--account", USERNAME, "--name", "Bench", "--scope", "code:write"
        ).strip()

    def commands(self) -> Sequence[Sequence[str]]:
        return [self._command("serve")]

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "gitpat_proxy", "--config", str(self._config), *arguments]

    def _run(self, *arguments: str) -> str:
        result = subprocess.run(
            self._command(*arguments), cwd=PROJECT, capture_output=True, check=False, text=True
        )
        if result.returncode != 0:
            said = result.stderr.strip().rpartition("\n")[2]
            raise BenchError(f"gitpat-proxy {arguments[0]} failed: {said}")
        return result.stdout


class Apache(Server):
    """mpm_event with mod_cgid, as a threaded Apache runs CGI programs; passwords by bcrypt."""

    name = "Apache"
    reaps_its_children = False
    _module_folders = ("/usr/lib/apache2/modules", "/usr/lib64/httpd/modules", "/usr/lib/httpd/modules")
    _modules = (
        "mpm_event",
        "unixd",
        "log_config",
        "authn_core",
        "authn_file",
        "authz_core",
        "authz_user",
        "auth_basic",
        "alias",
        "cgid",
        "env",
        "setenvif",
    )

    def __init__(self, folder: Path, repositories: Path) -> None:
        self._program = program("apache2", "httpd")
        self._modules_folder = _first_folder(self._module_folders, "Apache's modules")
        hasher = program("htpasswd")
        super().__init__(folder, repositories)
        users = _run_with_input([hasher, "-n", "-i", "-B", USERNAME], self.secret)
        (folder / "users").write_text(users.strip() + "\n")
        (folder / "apache.conf").write_text(self._configuration())

    def commands(self) -> Sequence[Sequence[str]]:
        return [[self._program, "-f", str(self.folder / "apache.conf"), "-DFOREGROUND"]]

    def file_owner(self) -> int | None:
        """It refuses to serve as root, so root's bench hands it to somebody else."""
        return _unprivileged().pw_uid if os.geteuid() == 0 else None

    def _configuration(self) -> str:
        lines = [
            f"ServerRoot {self.folder}",
            f"ServerName 127.0.0.1:{self.port}",
            f"Listen 127.0.0.1:{self.port}",
            f"PidFile {self.folder}/apache.pid",
            f"DefaultRuntimeDir {self.folder}",
            f"ErrorLog {self.folder}/error.log",
            *(line for module in self._modules for line in self._load(module)),
            f"ScriptSock {self.folder}/cgid.socket",
            f'CustomLog {self.folder}/access.log "%h %l %u %t \\"%r\\" %>s %b"',
            *self._as_somebody_else(),
            f"SetEnv GIT_PROJECT_ROOT {self.repositories}",
            "SetEnv GIT_HTTP_EXPORT_ALL 1",
            "SetEnvIf Git-Protocol ^(.+)$ GIT_PROTOCOL=$1",
            f"ScriptAlias / {git_http_backend()}/",
            "<Location />",
            "  AuthType Basic",
            "  AuthName Git",
            f"  AuthUserFile {self.folder}/users",
            "  Require valid-user",
            "</Location>",
        ]
        return "\n".join([*lines, ""])

    def _load(self, module: str) -> list[str]:
        """Some distributions compile in what others load."""
        file = f"{self._modules_folder}/mod_{module}.so"
        return [f"<IfModule !{module}_module>", f"  LoadModule {module}_module {file}", "</IfModule>"]

    def _as_somebody_else(self) -> list[str]:
        if os.geteuid() != 0:
            return []
        somebody = _unprivileged()
        # git reads nobody else's repositories unless it is told that it may.
        return [
            f"User {somebody.pw_name}",
            f"Group #{somebody.pw_gid}",
            "SetEnv GIT_CONFIG_COUNT 1",
            "SetEnv GIT_CONFIG_KEY_0 safe.directory",
            "SetEnv GIT_CONFIG_VALUE_0 *",
        ]


class Nginx(Server):
    """nginx, which speaks FastCGI, and fcgiwrap with four workers, which runs the CGI program.

    Passwords by apr1: crypt(3), which nginx asks about other forms, knows bcrypt only on some systems.
    """

    name = "nginx + fcgiwrap"
    reaps_its_children = False

    def __init__(self, folder: Path, repositories: Path) -> None:
        self._nginx, self._fcgiwrap = program("nginx"), program("fcgiwrap")
        super().__init__(folder, repositories)
        (folder / "users").write_text(apr1_line(self.secret))
        (folder / "nginx.conf").write_text(self._configuration())
        self._socket = folder / "fcgiwrap.socket"

    def commands(self) -> Sequence[Sequence[str]]:
        self._socket.unlink(missing_ok=True)
        return [
            [self._nginx, "-c", str(self.folder / "nginx.conf"), "-p", str(self.folder)],
            [self._fcgiwrap, "-c", "4", "-s", f"unix:{self._socket}"],
        ]

    def _configuration(self) -> str:
        user = "user root;\n" if os.geteuid() == 0 else ""
        folders = "\n".join(
            f"  {kind}_temp_path {self.folder}/{kind};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        parameters = {
            "SCRIPT_FILENAME": git_http_backend(),
            "GIT_PROJECT_ROOT": str(self.repositories),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": "$http_git_protocol",
            "PATH_INFO": "$uri",
            "QUERY_STRING": "$query_string",
            "REQUEST_METHOD": "$request_method",
            "CONTENT_TYPE": "$content_type",
            "CONTENT_LENGTH": "$content_length",
            "SERVER_PROTOCOL": "$server_protocol",
            "REMOTE_ADDR": "$remote_addr",
            "REMOTE_USER": "$remote_user",
        }
        return (
            f"{user}daemon off;\nworker_processes auto;\npid {self.folder}/nginx.pid;\n"
            f"error_log {self.folder}/error.log;\nevents {{}}\nhttp {{\n"
            f"  access_log {self.folder}/access.log;\n{folders}\n"
            f"  server {{\n    listen 127.0.0.1:{self.port};\n    client_max_body_size 0;\n"
            f"    auth_basic Git;\n    auth_basic_user_file {self.folder}/users;\n"
            "    location / {\n"
            + "".join(f"      fastcgi_param {name} {value};\n" for name, value in parameters.items())
            + "      fastcgi_read_timeout 600;\n"
            f"      fastcgi_pass unix:{self.folder}/fcgiwrap.socket;\n"
            "    }\n  }\n}\n"
        )


class Lighttpd(Server):
    """lighttpd with mod_cgi; passwords by apr1, which its own code knows, as nginx's does.

    Answers are passed on as they come: by default it would hold a whole clone back first.
    """

    name = "lighttpd"

    def __init__(self, folder: Path, repositories: Path) -> None:
        self._program = program("lighttpd")
        super().__init__(folder, repositories)
        (folder / "users").write_text(apr1_line(self.secret))
        (folder / "lighttpd.conf").write_text(self._configuration())

    def commands(self) -> Sequence[Sequence[str]]:
        return [[self._program, "-D", "-f", str(self.folder / "lighttpd.conf")]]

    def _configuration(self) -> str:
        return (
            'server.modules = ("mod_auth", "mod_authn_file", "mod_alias", "mod_setenv", "mod_cgi", '
            '"mod_accesslog")\n'
            f'server.document-root = "{self.folder}"\n'
            f'server.bind = "127.0.0.1"\nserver.port = {self.port}\n'
            f'server.errorlog = "{self.folder}/error.log"\n'
            f'accesslog.filename = "{self.folder}/access.log"\n'
            f'server.upload-dirs = ("{self.folder}")\n'
            "server.stream-response-body = 2\n"
            f'auth.backend = "htpasswd"\nauth.backend.htpasswd.userfile = "{self.folder}/users"\n'
            'auth.require = ("/" => '
            '("method" => "basic", "realm" => "Git", "require" => "valid-user"))\n'
            f'alias.url = ("/" => "{git_http_backend()}/")\n'
            'cgi.assign = ("" => "")\n'
            f'setenv.set-environment = ("GIT_PROJECT_ROOT" => "{self.repositories}", '
            '"GIT_HTTP_EXPORT_ALL" => "1")\n'
        )


SERVERS: tuple[type[Server], ...] = (GitpatProxy, Apache, Nginx, Lighttpd)


def apr1_line(secret: str) -> str:
    """Return an htpasswd file's line; raise MissingError."""
    digest = _run_with_input([program("openssl"), "passwd", "-apr1", "-stdin"], secret)
    return f"{USERNAME}:{digest.strip()}\n"


def git_http_backend() -> str:
    """Return the path of git's CGI program; raise MissingError."""
    result = subprocess.run(["git", "--exec-path"], capture_output=True, check=True, text=True)
    path = Path(result.stdout.strip(), "git-http-backend")
    if not path.exists():
        raise MissingError("git's http-backend is not installed")
    return str(path)


def give_to(owner: int | None, folder: Path) -> None:
    """Make a folder somebody else's, with all that is in it."""
    if owner is None:
        return
    for path in (folder, *folder.rglob("*")):
        os.chown(path, owner, -1)


def _unprivileged() -> pwd.struct_passwd:
    for name in ("www-data", "apache", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise MissingError("there is nobody but root that Apache could run as")


def _first_folder(candidates: Sequence[str], what: str) -> str:
    for folder in candidates:
        if Path(folder).is_dir():
            return folder
    raise MissingError(f"{what} are not installed")


def _run_with_input(command: Sequence[str], text: str) -> str:
    environment: Mapping[str, str] = git_environment()
    result = subprocess.run(
        command, input=text, env=environment, capture_output=True, check=False, text=True
    )
    if result.returncode != 0:
        raise BenchError(f"{command[0]} failed: {result.stderr.strip()}")
    return result.stdout


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
