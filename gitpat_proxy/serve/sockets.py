"""The sockets to listen on: systemd's, or those that the configuration names."""

import grp
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import structlog
from gunicorn.systemd import SD_LISTEN_FDS_START, listen_fds

from gitpat_proxy.config.model import Config, SocketFile
from gitpat_proxy.config.problems import exposure_problem
from gitpat_proxy.config.values import ListenAddress

BACKLOG = 1024

_log = structlog.get_logger()


@contextmanager
def listening_sockets(config: Config) -> Iterator[list[socket.socket]]:
    """Open them, and close them in the end; raise OSError with a sentence if one can't be had.

    What systemd passes on (sd_listen_fds(3)) stands in for all that `listen` names.
    """
    given = listen_fds()
    with ExitStack() as stack:
        if given:
            numbers = range(SD_LISTEN_FDS_START, SD_LISTEN_FDS_START + given)
            sockets = [stack.enter_context(socket.socket(fileno=number)) for number in numbers]
        else:
            sockets = [
                opened for address in config.listen for opened in _sockets(address, config.socket, stack)
            ]
        for opened in sockets:
            address = _address_of(opened)
            if problem := exposure_problem(config, address):
                raise OSError(problem)
            opened.setblocking(False)
            _log.info("listening", on=str(address), tls=config.tls is not None)
        yield sockets


def _sockets(address: ListenAddress, file: SocketFile | None, stack: ExitStack) -> list[socket.socket]:
    try:
        if address.path:
            return [_unix_socket(address.path, file or SocketFile(), stack)]
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        places = dict.fromkeys((family, place[:2]) for family, _, _, _, place in found)
        return [
            stack.enter_context(socket.create_server(place, family=family, backlog=BACKLOG))
            for family, place in places
        ]
    except OSError as error:
        # getaddrinfo's numbers are its own, and negative.
        number = error.errno or 0
        why = os.strerror(number).lower() if number > 0 else str(error)
        raise OSError(f"can't listen on {address}: {why}; `listen` names where") from None


def _unix_socket(path: Path, file: SocketFile, stack: ExitStack) -> socket.socket:
    """Nobody may open it before its group and mode are set."""
    if _is_abandoned(path):
        path.unlink()
    opened = stack.enter_context(socket.socket(socket.AF_UNIX))
    before = os.umask(0o177)
    try:
        opened.bind(str(path))
    finally:
        os.umask(before)
    stack.callback(_unlink, path, path.stat())
    if file.group:
        os.chown(path, -1, grp.getgrnam(file.group).gr_gid)
    path.chmod(0o777 & ~before if file.mode is None else file.mode)
    opened.listen(BACKLOG)
    return opened


def _unlink(path: Path, made: os.stat_result) -> None:
    """Remove the file, unless another proxy has put its own there since."""
    with suppress(FileNotFoundError):
        found = path.stat()
        if (found.st_ino, found.st_mtime_ns) == (made.st_ino, made.st_mtime_ns):
            path.unlink()


def _is_abandoned(path: Path) -> bool:
    """Tell whether it is a socket that nobody listens on, as a killed proxy leaves it."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            return False
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(path))
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


def _address_of(opened: socket.socket) -> ListenAddress:
    name = opened.getsockname()
    if isinstance(name, tuple):
        return ListenAddress(name[0], name[1])
    return ListenAddress(path=Path(os.fsdecode(name)))
