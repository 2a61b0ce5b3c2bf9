"""A real nginx in front, with the location that the README gives."""

import re
import subprocess
from pathlib import Path

from tests.support.proxy import free_port, wait_until
from tests.support.raw import accepts

README = Path(__file__).parents[2] / "README.md"

_CONFIG = """
{user}
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        {location}
    }}
}}
"""


class Nginx:
    """Passes on to a proxy's port."""

    def __init__(self, folder: Path, proxy_port: int) -> None:
        [location] = re.findall(r"    (location / \{.*?\n    \})", README.read_text(), re.DOTALL)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        folder.mkdir()
        config = folder / "nginx.conf"
        config.write_text(
            _CONFIG.format(
                user="user root;" if folder.owner() == "root" else "",
                folder=folder,
                port=self.port,
                location=location.replace("8418", str(proxy_port)),
            )
        )
        self._process = subprocess.Popen(
            ["nginx", "-c", str(config), "-e", str(folder / "error.log")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(lambda: accepts(self.port), what="nginx")

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(20)
