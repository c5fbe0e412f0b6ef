"""A whole installation in processes of its own, started by the command that people use."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.servers.ports import free_port

START_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class Installation:
    """Where it is, and the one backend behind it."""

    url: str
    grpc: str
    key: str
    backend: str
    pid: int

    @property
    def headers(self) -> dict[str, str]:
        """What a client of the first key sends."""
        return {"authorization": f"Bearer {self.key}"}

    def backend_history(self) -> dict[str, Any]:
        """What the backend says it executed: prompt by prompt id."""
        with urllib.request.urlopen(f"{self.backend}/history", timeout=30) as answer:
            history: dict[str, Any] = json.load(answer)
        return history


@contextlib.contextmanager
def standin(folder: Path, *options: str) -> Iterator[str]:
    """A stand-in backend in a process of its own; gives its address."""
    port = free_port()
    argv = [sys.executable, "-m", "services.standin", "--port", str(port), "--folder", str(folder), *options]
    with _process(argv, log=folder.with_suffix(".log")) as process:
        url = f"http://127.0.0.1:{port}"
        _wait_answering(f"{url}/queue", process)
        yield url


@contextlib.contextmanager
def installation(state: Path, *backends: str, options: tuple[str, ...] = ()) -> Iterator[Installation]:
    """`comfyfleet up` on `state` with these backends; stopped by SIGTERM, which must end it with status 0."""
    attached = [word for backend in backends for word in ("--comfyui", backend)]
    argv = [sys.executable, "-m", "services.cli", "up", "--state", str(state), "--port", "0", "--grpc-port", "0"]
    with _process([*argv, "--json", *attached, *options], log=state.with_suffix(".log"), clean_end=True) as process:
        word = json.loads(_first_line(process))
        yield Installation(
            url=word["url"],
            grpc=word["grpc"],
            key=word["key"],
            backend=backends[0] if backends else "",
            pid=process.pid,
        )


@contextlib.contextmanager
def _process(argv: list[str], *, log: Path, clean_end: bool = False) -> Iterator[subprocess.Popen[str]]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COMFYFLEET_")}
    with log.open("a", encoding="utf-8") as sink:
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=sink, text=True, env=environment)
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        status = process.wait(timeout=60)
        assert not clean_end or status == 0, f"status {status}; see {log}:\n{log.read_text()[-4000:]}"
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    late = threading.Timer(START_SECONDS, process.kill)
    late.start()
    try:
        line = process.stdout.readline()
    finally:
        late.cancel()
    assert line, f"it ended, or was not ready within {START_SECONDS} s"
    return line


def _wait_answering(url: str, process: subprocess.Popen[str]) -> None:
    waiting = threading.Event()
    for _ in range(START_SECONDS * 20):
        assert process.poll() is None, "it ended while starting"
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        waiting.wait(0.05)
    raise AssertionError(f"{url} did not answer within {START_SECONDS} s")
