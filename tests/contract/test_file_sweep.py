"""What time does to files, and what the sweep does where no event came."""

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from services.common.grant import RunGrant
from services.common.ids import RandomIds, new_id
from services.common.sql import Database
from services.file.blobs import PARTS
from services.file.blobs.local import LocalBlobs, open_local_blobs
from services.file.model.access import Access
from services.file.model.binding import WantedFile
from services.file.model.file import INLINE_BYTES, PROVISIONAL_FOR, File, Origin
from services.file.model.new_file import NewFile
from services.file.service.run_files import RunFiles
from services.file.service.storing import Storing, StoringRules
from services.file.service.sweep import ASK_AFTER, BLOB_GRACE, SWEEP_FAILED, Sweep
from services.file.store.bindings import BindingStore
from services.file.store.files import FileStore
from tests.rpc.file_rig import TEAM_A, KnownRuns
from tests.servers.clock import MovableClock


@pytest.fixture
def room() -> str:
    return "file"


@dataclass(kw_only=True)
class Room:
    """The room without its doors and loops."""

    store: FileStore
    storing: Storing
    run_files: RunFiles
    sweep: Sweep
    runs: KnownRuns
    clock: MovableClock
    blobs: LocalBlobs
    root: Path

    async def put(self, content: bytes = b"x", **header: object) -> File:
        return await self.storing.put(Access(team_id=TEAM_A), NewFile(**header), content)  # type: ignore[arg-type]

    async def put_output(self, run_id: str, content: bytes = b"x", *, attempt: int = 1) -> File:
        origin = Origin(run_id=run_id, attempt=attempt, node_id="9", key="images", position=0)
        grant = RunGrant(
            fleet_id="f",
            team_id=TEAM_A,
            run_id=run_id,
            attempt=attempt,
            input_ids=frozenset(),
            max_bytes=2**30,
            expires_at=self.clock.now(),
        )
        return await self.storing.put(Access(team_id=TEAM_A, grant=grant), NewFile(origin=origin), content)

    async def bind(self, run_id: str, *files: File, delete_at_end: bool = False) -> None:
        wanted = [WantedFile(file_id=file.id) for file in files]
        bound = await self.run_files.bind(Access(team_id=TEAM_A), run_id, wanted, delete_at_end=delete_at_end)
        assert not bound.violations

    async def has(self, file: File) -> bool:
        return await self.store.find(TEAM_A, file.id, now=self.clock.now()) is not None

    def blob_paths(self) -> list[Path]:
        return list(self.root.glob("[0-9a-f][0-9a-f]/*"))


@pytest_asyncio.fixture
async def files(database: Database, tmp_path: Path) -> AsyncIterator[Room]:
    root, clock, runs = tmp_path / "blobs", MovableClock(), KnownRuns()
    store, bindings = FileStore(database=database), BindingStore(database=database)
    async with open_local_blobs(root) as blobs:
        run_files = RunFiles(bindings=bindings, blobs=blobs, runs=runs, clock=clock)
        yield Room(
            store=store,
            storing=Storing(
                store=store, blobs=blobs, clock=clock, ids=RandomIds(), rules=StoringRules(max_file_bytes=2**30)
            ),
            run_files=run_files,
            sweep=Sweep(store=store, bindings=bindings, run_files=run_files, blobs=blobs, clock=clock),
            runs=runs,
            clock=clock,
            blobs=blobs,
            root=root,
        )


async def test_provisional_files_go_with_their_blobs(files: Room) -> None:
    part = await files.put(os.urandom(INLINE_BYTES + 1), provisional=True)
    kept = await files.put(os.urandom(INLINE_BYTES + 1))
    files.clock.move(PROVISIONAL_FOR - timedelta(seconds=1))
    await files.sweep.round()
    assert await files.has(part)
    files.clock.move(timedelta(seconds=1))
    await files.sweep.round()
    assert len(files.blob_paths()) == 1
    assert await files.has(kept)


async def test_a_bound_part_outlives_its_time_while_its_run_lives(files: Room) -> None:
    part, run_id = await files.put(provisional=True), new_id()
    files.runs.goes_on(run_id)
    await files.bind(run_id, part)
    files.clock.move(PROVISIONAL_FOR * 10)
    await files.sweep.round()
    assert await files.has(part)


async def test_inputs_go_at_the_end_of_their_run_although_no_event_came(files: Room) -> None:
    going, staying, run_id = await files.put(b"1"), await files.put(b"2"), new_id()
    await files.bind(run_id, going, delete_at_end=True)
    files.runs.ended(run_id)
    other = new_id()
    await files.bind(other, staying)
    files.runs.ended(other)
    files.clock.move(ASK_AFTER + timedelta(seconds=1))
    await files.sweep.round()
    assert [await files.has(file) for file in (going, staying)] == [False, True]
    files.runs.asked.clear()
    await files.sweep.round()
    assert files.runs.asked == []


async def test_bindings_of_a_run_that_never_came_to_be_are_released_in_time(files: Room) -> None:
    part, lasting, run_id = await files.put(b"1", provisional=True), await files.put(b"2"), new_id()
    await files.bind(run_id, part, lasting)
    files.clock.move(PROVISIONAL_FOR - timedelta(seconds=1))
    await files.sweep.round()
    assert await files.store.find_bound(run_id, part.id)
    files.clock.move(timedelta(seconds=1))
    await files.sweep.round()
    assert not await files.store.find_bound(run_id, lasting.id)
    assert [await files.has(file) for file in (part, lasting)] == [False, True]


async def test_without_an_answer_nothing_is_let_go_and_the_rest_goes_on(files: Room) -> None:
    going, run_id = await files.put(b"1"), new_id()
    await files.bind(run_id, going, delete_at_end=True)
    orphan = await files.put_output(new_id())
    part = await files.put(b"2", provisional=True)
    files.runs.ended(run_id)
    files.runs.away = True
    files.clock.move(PROVISIONAL_FOR * 2)
    with capture_logs() as logs:
        await files.sweep.round()
    assert [entry["event"] for entry in logs] == [SWEEP_FAILED]
    assert [await files.has(file) for file in (going, orphan, part)] == [True, True, False]
    files.runs.away = False
    await files.sweep.round()
    assert not await files.has(going)


async def test_orphans_of_lost_attempts_go_on_a_definite_answer_only(files: Room) -> None:
    run_id, deleted_run = new_id(), new_id()
    lost, won = await files.put_output(run_id), await files.put_output(run_id, attempt=2)
    unjudged = await files.put_output(deleted_run)
    files.runs.goes_on(run_id)
    files.clock.move(PROVISIONAL_FOR * 2)
    await files.sweep.round()
    assert await files.has(lost)
    files.runs.ended(run_id, won.id)
    await files.sweep.round()
    assert [await files.has(file) for file in (lost, won, unjudged)] == [False, True, True]


async def test_blobs_of_no_record_go_after_a_grace(files: Room) -> None:
    kept = await files.put(os.urandom(INLINE_BYTES + 1))
    async with files.blobs.incoming() as blob:
        await blob.append([b"nobody's"])
        await blob.finish()
        orphan = await blob.keep()
    assert len(files.blob_paths()) == 2
    for grace, left in ((timedelta(), 2), (BLOB_GRACE, 1)):
        for path in files.blob_paths():
            moment = (files.clock.now() - grace - timedelta(seconds=1)).timestamp()
            os.utime(path, (moment, moment))
        for _ in range(PARTS):
            await files.sweep.round()
        assert len(files.blob_paths()) == left
    assert await files.blobs.size(orphan) is None
    assert await files.has(kept)
