"""One child process: started, watched, started again, and stopped."""

import asyncio
import contextlib
import os
import signal
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import structlog

CHILD_STARTED = "child_started"
CHILD_READY = "child_ready"
CHILD_DIED = "child_died"
CHILD_STOPPED = "child_stopped"
CHILD_KILLED = "child_killed"

_BACK_OFF_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.0)
_DEATHS_ALLOWED = 5
_DEATHS_WINDOW_SECONDS = 60.0

READY_FD_VARIABLE = "COMFYFLEET_READY_FD"
"""Names the descriptor on which a child writes one line once it serves."""

TETHER_VARIABLE = "COMFYFLEET_TETHER"
"""Set in children: they end when their standard input does, so they never outlive the supervisor."""


class ChildGaveUp(Exception):
    """A child died five times within a minute: starting it again would not help."""

    def __init__(self, name: str, status: int) -> None:
        super().__init__(f"{name} died {_DEATHS_ALLOWED} times in a minute, last with status {status}")
        self.name = name


@dataclass(frozen=True, kw_only=True)
class ChildSpec:
    """What to start. Children that announce write a line to the ready descriptor; others are ready when `probe` is."""

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    announces: bool = True
    probe: tuple[str, int] | None = None
    log: Path | None = None
    grace_seconds: float = 15.0


class Child:
    """Keeps one process running until it is stopped."""

    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec
        self.ready = asyncio.Event()
        self._log = structlog.get_logger().bind(child=spec.name)
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self._deaths: deque[float] = deque(maxlen=_DEATHS_ALLOWED)

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self._process is not None else None

    async def run(self) -> None:
        """Runs the process, again and again, until `stop`.

        Raises:
            ChildGaveUp: It died five times within a minute.
        """
        while not self._stopping:
            status = await self._run_once()
            if self._stopping:
                return
            self._log.error(CHILD_DIED, status=status)
            now = asyncio.get_running_loop().time()
            self._deaths.append(now)
            if len(self._deaths) == _DEATHS_ALLOWED and now - self._deaths[0] < _DEATHS_WINDOW_SECONDS:
                raise ChildGaveUp(self.spec.name, status)
            recent = sum(1 for death in self._deaths if now - death < _DEATHS_WINDOW_SECONDS)
            await asyncio.sleep(_BACK_OFF_SECONDS[min(recent, len(_BACK_OFF_SECONDS)) - 1])

    async def stop(self) -> None:
        """Asks the process to end, and ends it when its grace is over."""
        self._stopping = True
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(self.spec.grace_seconds):
                status = await process.wait()
            self._log.info(CHILD_STOPPED, status=status)
        except TimeoutError:
            self._log.warning(CHILD_KILLED, grace_seconds=self.spec.grace_seconds)
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _run_once(self) -> int:
        ready_read, ready_write = os.pipe()
        output = self._open_log()
        environment = {**os.environ, **self.spec.environment}
        if self.spec.announces:
            environment |= {READY_FD_VARIABLE: str(ready_write), TETHER_VARIABLE: "1"}
        try:
            self._process = process = await asyncio.create_subprocess_exec(
                *self.spec.argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=environment,
                pass_fds=(ready_write,) if self.spec.announces else (),
                start_new_session=True,  # Ctrl-C at the terminal reaches the supervisor only, which stops in order
            )
        except BaseException:
            os.close(ready_read)
            raise
        finally:
            os.close(ready_write)
            if output is not sys.stderr:
                output.close()
        self._log.info(CHILD_STARTED, pid=process.pid)
        watcher = asyncio.create_task(self._watch_ready(ready_read), name=f"ready of {self.spec.name}")
        try:
            return await process.wait()
        finally:
            self.ready.clear()
            watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watcher

    def _open_log(self) -> IO[str]:
        if self.spec.log is None:
            return sys.stderr
        self.spec.log.parent.mkdir(parents=True, exist_ok=True)
        return self.spec.log.open("a", encoding="utf-8")

    async def _watch_ready(self, ready_read: int) -> None:
        try:
            if self.spec.announces:
                await _first_byte(ready_read)
            elif self.spec.probe is not None:
                await _listening(*self.spec.probe)
        finally:
            os.close(ready_read)
        self._log.info(CHILD_READY)
        self.ready.set()


async def _first_byte(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(descriptor, readable.set)
    try:
        await readable.wait()
        if not os.read(descriptor, 1):
            await asyncio.Event().wait()  # closed without a word: the process is ending, its exit is reported elsewhere
    finally:
        loop.remove_reader(descriptor)


async def _listening(host: str, port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError:
            await asyncio.sleep(0.02)
            continue
        writer.close()
        return
