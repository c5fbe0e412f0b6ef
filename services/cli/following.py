"""Follows a run to its end: a live bar at a terminal, one JSON line an event for scripts."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc
from comfyfleet.run.v1 import run_event_pb2, run_pb2, run_service_pb2, run_service_pb2_grpc
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from services.cli.connection import Connection
from services.cli.document import enum_word
from services.cli.terminal import notice, notices, visible, write_json
from services.common.errors import Unavailable
from services.common.status import error_of

TERMINAL_STATES = frozenset(
    {
        run_pb2.RUN_STATE_SUCCEEDED,
        run_pb2.RUN_STATE_FAILED,
        run_pb2.RUN_STATE_CANCELLED,
        run_pb2.RUN_STATE_TIMED_OUT,
        run_pb2.RUN_STATE_INVALID,
    }
)
_PREVIEW_ENDINGS = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp"}
_RECONNECT_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)


def state_word(state: int) -> str:
    """`succeeded` for RUN_STATE_SUCCEEDED."""
    return enum_word(run_pb2.RunState.Name(run_pb2.RunState.ValueType(state)), "RunState")


class Screen:
    """Shows events. With `as_json` it writes them as lines; otherwise it keeps a bar on standard error.

    The bar begins with the first event: a refused request has none. Whoever is interrupted is told how to go on.
    """

    def __init__(self, *, as_json: bool, previews: Path | None) -> None:
        self._as_json = as_json
        self._previews = previews
        self._run_id = ""
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description:<10}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %  {task.fields[node]}"),
            TimeElapsedColumn(),
            console=notices,
            disable=as_json,
        )
        self._task = self._progress.add_task("queued", total=1.0, node="")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._progress.live.is_started:
            self._progress.stop()
        if kind is None or not issubclass(kind, asyncio.CancelledError):
            return
        if self._run_id:
            notice(f"stopped watching; the run goes on. `comfyfleet runs watch {self._run_id}` shows it again,")
            notice(f"`comfyfleet runs cancel {self._run_id}` stops it.")
        else:
            notice("interrupted before the answer came; `comfyfleet runs list` shows whether the run was made.")

    def show(self, event: run_event_pb2.RunEvent) -> None:
        """Shows one event."""
        self._run_id = event.run_id
        if event.WhichOneof("event") == "preview":
            self._save_preview(event.preview)
            return
        if self._as_json:
            write_json(event)
            return
        self._progress.start()
        match event.WhichOneof("event"):
            case "snapshot":
                self._show_state(event.snapshot.state)
            case "state_changed":
                self._show_state(event.state_changed.state)
            case "progress":
                node = escape(visible(event.progress.node_class or event.progress.text))
                self._progress.update(self._task, completed=event.progress.fraction, node=node)

    def _show_state(self, state: int) -> None:
        self._progress.update(self._task, description=state_word(state))
        if state in TERMINAL_STATES:
            completed = 1.0 if state == run_pb2.RUN_STATE_SUCCEEDED else None
            self._progress.update(self._task, completed=completed, node="")

    def _save_preview(self, preview: run_event_pb2.RunPreview) -> None:
        if self._previews is None:
            return
        self._previews.mkdir(parents=True, exist_ok=True)
        ending = _PREVIEW_ENDINGS.get(preview.media_type, ".bin")
        (self._previews / f"preview-{preview.attempt}-{preview.number:04d}{ending}").write_bytes(preview.image)


async def follow(
    channel: grpc.aio.Channel, connection: Connection, first: AsyncIterable[run_event_pb2.RunEvent], screen: Screen
) -> run_pb2.Run:
    """Shows a run's events until it has ended, resuming a broken stream where it broke, and returns the run.

    Raises:
        grpc.aio.AioRpcError: The stream was refused, or could not be resumed.
    """
    last = run_pb2.Run()
    async for event in _events(channel, connection, first):
        screen.show(event)
        match event.WhichOneof("event"):
            case "snapshot":
                last = event.snapshot
            case "state_changed" if event.state_changed.HasField("run"):
                last = event.state_changed.run
    return last


async def _events(
    channel: grpc.aio.Channel, connection: Connection, first: AsyncIterable[run_event_pb2.RunEvent]
) -> AsyncIterator[run_event_pb2.RunEvent]:
    stub = run_service_pb2_grpc.RunServiceStub(channel)
    stream: AsyncIterable[run_event_pb2.RunEvent] = first
    run_id, sequence, failures = "", 0, 0
    while True:
        try:
            async for event in stream:
                run_id, sequence, failures = event.run_id, event.sequence or sequence, 0
                yield event
                if _ends(event):
                    return
            return
        except grpc.aio.AioRpcError as broken:
            passing = isinstance(error_of(broken), Unavailable)
            if not run_id or not passing or failures >= len(_RECONNECT_SECONDS):
                raise
            await asyncio.sleep(_RECONNECT_SECONDS[failures])
            failures += 1
            request = run_service_pb2.WatchRunRequest(run_id=run_id, after_sequence=sequence)
            stream = stub.WatchRun(request, metadata=connection.metadata)


def _ends(event: run_event_pb2.RunEvent) -> bool:
    match event.WhichOneof("event"):
        case "snapshot":
            return event.snapshot.state in TERMINAL_STATES
        case "state_changed":
            return event.state_changed.state in TERMINAL_STATES
    return False
