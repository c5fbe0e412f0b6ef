"""What the file room's store promises, on SQLite and PostgreSQL alike."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from sqlalchemy import func, select
from sqlmodel import Session

from services.common.errors import AlreadyExists, InvalidArgument, ResourceExhausted
from services.common.ids import new_id
from services.common.sql import Database
from services.file.model.binding import WantedFile
from services.file.model.fact import FactType, Occasion
from services.file.model.file import PROVISIONAL_FOR, Content, File, Origin
from services.file.store.bindings import BindingStore, Bound
from services.file.store.files import Added, Addition, FileStore
from services.file.store.listing import FileListing, ListQuery
from services.file.store.outbox import FactStore
from services.file.store.tables import CONTENT, tables
from tests.servers.databases import Databases
from tests.servers.migrations import check_migrations

NOW = datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC)
OCCASION = Occasion(at=NOW, request_id="call-1")
TEAM = new_id()


@pytest.fixture
def room() -> str:
    return "file"


def addition(  # the fields that tests vary
    content: bytes = b"hello",
    *,
    team_id: str = TEAM,
    origin: Origin | None = None,
    request_id: str | None = None,
    blob_key: str | None = None,
    provisional: bool = False,
    file_name: str = "a.png",
    limit: int | None = None,
    at: datetime = NOW,
) -> Addition:
    digest = sha256(content).hexdigest()
    file = File(
        id=new_id(),
        team_id=team_id,
        file_name=file_name,
        media_type="image/png",
        size_bytes=len(content),
        sha256=digest,
        blake3="b3" + digest,
        created_at=at,
        expires_at=at + PROVISIONAL_FOR if provisional else None,
        origin=origin,
        provisional=provisional,
    )
    place = Content(body=content) if blob_key is None else Content(blob_key=blob_key)
    return Addition(file=file, content=place, request_id=request_id, request_hash=digest, max_attempt_bytes=limit)


def output(run_id: str, position: int = 0, *, attempt: int = 1) -> Origin:
    return Origin(run_id=run_id, attempt=attempt, node_id="9", key="images", position=position)


async def add(database: Database, wanted: Addition | None = None) -> File:
    return (await FileStore(database=database).add(wanted or addition(), OCCASION)).stored.file


async def exists(database: Database, file: File, *, now: datetime = NOW) -> bool:
    return await FileStore(database=database).find(file.team_id, file.id, now=now) is not None


async def bind(
    database: Database, run_id: str, files: Sequence[File], *, delete_at_end: bool = False, at: datetime = NOW
) -> Bound:
    wanted = [WantedFile(file_id=file.id, field=file.file_name) for file in files]
    return await BindingStore(database=database).bind(
        team_id=TEAM, run_id=run_id, wanted=wanted, delete_at_end=delete_at_end, now=at
    )


async def count_contents(database: Database) -> int:
    statement = select(func.count()).select_from(CONTENT)
    return int(await database.read(lambda session: session.connection().execute(statement).scalar_one()))


async def fact_types(database: Database) -> list[FactType]:
    return [fact.type for fact in await FactStore(database=database).unpublished(1000)]


def test_migrations_lead_to_the_tables_and_back(databases: Databases) -> None:
    check_migrations(databases.empty("file"), "file", tables.metadata)


async def test_a_file_is_found_again_with_its_bytes(database: Database) -> None:
    store, origin = FileStore(database=database), output(new_id())
    added = await store.add(addition(b"\x00\xff", origin=origin), OCCASION)
    assert (added.created, added.took_content) == (True, True)
    found = await store.find(TEAM, added.stored.file.id, now=NOW)
    assert found == added.stored
    assert found is not None
    assert (found.file.origin, found.content.body) == (origin, b"\x00\xff")


async def test_another_teams_file_is_not_found(database: Database) -> None:
    file = await add(database)
    assert await FileStore(database=database).find(new_id(), file.id, now=NOW) is None


async def test_equal_bytes_are_stored_once_and_last_as_long_as_a_record(database: Database) -> None:
    store = FileStore(database=database)
    first = await store.add(addition(b"x", blob_key="k1"), OCCASION)
    second = await store.add(addition(b"x", blob_key="k2", team_id="other"), OCCASION)
    assert (second.created, second.took_content, second.stored.content.blob_key) == (True, False, "k1")
    deleted = await store.delete(TEAM, first.stored.file.id, OCCASION)
    assert (deleted.found, deleted.freed_keys) == (True, ())
    assert await count_contents(database) == 1
    deleted = await store.delete("other", second.stored.file.id, OCCASION)
    assert deleted.freed_keys == ("k1",)
    assert await count_contents(database) == 0


async def test_deleting_and_storing_the_same_bytes_at_once_loses_none(database: Database) -> None:
    store = FileStore(database=database)
    for _ in range(10):
        file = await add(database, addition(b"same", blob_key=new_id()))
        wanted = addition(b"same", blob_key=new_id())
        deletion, added = await asyncio.gather(store.delete(TEAM, file.id, OCCASION), store.add(wanted, OCCASION))
        found = await store.find(TEAM, added.stored.file.id, now=NOW)
        assert found is not None
        assert found.content.blob_key not in deletion.freed_keys
        await store.delete(TEAM, added.stored.file.id, OCCASION)


async def test_a_request_is_replayed_and_another_under_its_id_refused(database: Database) -> None:
    store = FileStore(database=database)
    first = await store.add(addition(b"x", request_id="r"), OCCASION)
    again = await store.add(addition(b"x", request_id="r"), OCCASION)
    assert (again.stored, again.created) == (first.stored, False)
    with pytest.raises(AlreadyExists) as refused:
        await store.add(addition(b"y", request_id="r"), OCCASION)
    assert refused.value.reason == "REQUEST_ID_REUSED"
    other = await store.add(addition(b"y", request_id="r", team_id="other"), OCCASION)
    assert other.created
    assert await fact_types(database) == [FactType.FILE_STORED] * 2


async def test_one_of_many_equal_requests_makes_the_record(database: Database) -> None:
    store = FileStore(database=database)
    all_added = await asyncio.gather(*(store.add(addition(b"x", request_id="r"), OCCASION) for _ in range(8)))
    assert len({added.stored.file.id for added in all_added}) == 1
    assert [added.created for added in all_added].count(True) == 1


async def test_a_request_whose_file_has_expired_makes_a_new_one(database: Database) -> None:
    store = FileStore(database=database)
    first = await store.add(addition(b"x", request_id="r", provisional=True), OCCASION)
    later = NOW + PROVISIONAL_FOR
    again = await store.add(addition(b"x", request_id="r", at=later), Occasion(at=later))
    assert again.created
    assert again.stored.file.id != first.stored.file.id


async def test_an_output_is_stored_once_and_the_first_one_stands(database: Database) -> None:
    store, run_id = FileStore(database=database), new_id()
    first = await store.add(addition(b"x", origin=output(run_id)), OCCASION)
    again = await store.add(addition(b"other bytes", origin=output(run_id)), OCCASION)
    assert (again.stored, again.created) == (first.stored, False)
    next_attempt = await store.add(addition(b"x", origin=output(run_id, attempt=2)), OCCASION)
    assert next_attempt.created


async def test_outputs_of_an_attempt_stay_below_its_limit_also_at_once(database: Database) -> None:
    store, run_id = FileStore(database=database), new_id()
    wanted = [addition(b"%2d" % n, origin=output(run_id, n), limit=10) for n in range(8)]
    outcomes = await asyncio.gather(*(store.add(each, OCCASION) for each in wanted), return_exceptions=True)
    assert len([outcome for outcome in outcomes if isinstance(outcome, Added)]) == 5
    refused = [outcome for outcome in outcomes if isinstance(outcome, ResourceExhausted)]
    assert {each.reason for each in refused} == {"OUTPUT_LIMIT"}
    assert await store.attempt_bytes(run_id, 1) == 10
    assert await store.attempt_bytes(run_id, 2) == 0


async def test_a_full_disk_of_the_database_is_told_and_passes(database: Database) -> None:
    if database.dialect != "sqlite":
        pytest.skip("PostgreSQL's disk cannot be filled from here")

    def limit(session: Session, pages: int) -> None:
        present = int(session.connection().exec_driver_sql("PRAGMA page_count").scalar_one())
        session.connection().exec_driver_sql(f"PRAGMA max_page_count = {present + pages}")

    await database.write(lambda session: limit(session, 4))
    wanted = addition(bytes(60_000))
    with pytest.raises(ResourceExhausted) as refused:
        await add(database, wanted)
    assert (refused.value.reason, refused.value.retry_after is not None) == ("DISK_FULL", True)
    assert not await exists(database, wanted.file)
    await database.write(lambda session: limit(session, 1000))
    assert await exists(database, await add(database, wanted))


async def test_text_that_no_database_takes_finds_nothing(database: Database) -> None:
    bound = await BindingStore(database=database).bind(
        team_id=TEAM, run_id=new_id(), wanted=[WantedFile(file_id="\x00")], delete_at_end=False, now=NOW
    )
    assert [each.reason for each in bound.violations] == ["FILE_NOT_FOUND"]
    for text in ('file_name = "\x00"', 'origin_run_id = "a\x00"'):
        with pytest.raises(InvalidArgument):
            await FileListing(database=database).list(TEAM, ListQuery(filter=text), now=NOW)


async def test_a_lost_blob_is_replaced_only_where_it_is_still_the_one(database: Database) -> None:
    store = FileStore(database=database)
    file = await add(database, addition(b"x", blob_key="lost"))
    assert await store.replace_blob(file.sha256, lost="lost", found="found")
    assert not await store.replace_blob(file.sha256, lost="lost", found="late")
    assert await store.named_blobs(["lost", "found", "late"]) == {"found"}


async def test_an_expired_file_is_gone_before_the_sweep_and_swept_after(database: Database) -> None:
    store = FileStore(database=database)
    file = await add(database, addition(b"x", blob_key="k", provisional=True))
    kept = await add(database)
    over = NOW + PROVISIONAL_FOR
    assert await exists(database, file, now=over - timedelta(microseconds=1))
    assert not await exists(database, file, now=over)
    assert await store.delete_expired(Occasion(at=over - timedelta(microseconds=1))) == (0, [])
    assert await store.delete_expired(Occasion(at=over)) == (1, ["k"])
    assert await store.delete_expired(Occasion(at=over)) == (0, [])
    assert await exists(database, kept, now=over)


async def test_binding_makes_provisional_files_last(database: Database) -> None:
    file = await add(database, addition(provisional=True))
    run_id = new_id()
    bound = await bind(database, run_id, [file, file])
    assert [each.id for each in bound.files] == [file.id, file.id]
    assert (bound.files[0].provisional, bound.files[0].expires_at) == (False, None)
    assert await bind(database, run_id, [file, file]) == bound
    assert await FileStore(database=database).delete_expired(Occasion(at=NOW + timedelta(days=1))) == (0, [])


async def test_all_files_are_bound_or_none(database: Database) -> None:
    file, foreign = await add(database), await add(database, addition(team_id="other", file_name="foreign"))
    gone = await add(database, addition(provisional=True, file_name="expired"))
    later = NOW + PROVISIONAL_FOR
    bound = await bind(database, new_id(), [file, foreign, gone], at=later)
    assert bound.files == ()
    assert [(each.field, each.reason) for each in bound.violations] == [
        ("foreign", "FILE_NOT_FOUND"),
        ("expired", "FILE_NOT_FOUND"),
    ]
    assert (await FileStore(database=database).delete(TEAM, file.id, OCCASION)).bound_to == ()


async def test_a_bound_file_is_not_deleted(database: Database) -> None:
    store, file, run_id = FileStore(database=database), await add(database), new_id()
    await bind(database, run_id, [file])
    assert (await store.delete(TEAM, file.id, OCCASION)).bound_to == (run_id,)
    assert await store.find_bound(run_id, file.id)
    await BindingStore(database=database).release(run_id, OCCASION)
    assert not await store.find_bound(run_id, file.id)
    assert (await store.delete(TEAM, file.id, OCCASION)).bound_to == ()
    assert not (await store.delete(TEAM, file.id, OCCASION)).found


async def test_inputs_go_at_the_end_of_the_last_run_that_reads_them(database: Database) -> None:
    bindings = BindingStore(database=database)
    shared = await add(database, addition(b"shared", blob_key="k1"))
    own = await add(database, addition(b"own", blob_key="k2"))
    first, second = new_id(), new_id()
    await bind(database, first, [shared, own], delete_at_end=True)
    await bind(database, second, [shared])
    released = await bindings.release(first, OCCASION)
    assert (released.complete, released.freed_keys) == (True, ("k2",))
    assert await exists(database, shared)
    assert (await bindings.release(second, OCCASION)).freed_keys == ("k1",)
    assert (await bindings.release(second, OCCASION)).freed_keys == ()


async def test_two_runs_that_end_at_once_do_not_leave_their_file_to_each_other(database: Database) -> None:
    bindings = BindingStore(database=database)
    for _ in range(10):
        file, runs = await add(database, addition(new_id().encode())), [new_id(), new_id()]
        for run_id in runs:
            await bind(database, run_id, [file], delete_at_end=True)
        await asyncio.gather(*(bindings.release(run_id, OCCASION) for run_id in runs))
        assert not await exists(database, file)


async def test_what_an_unknown_run_bound_is_let_go_and_its_provisional_files_go(database: Database) -> None:
    bindings, run_id = BindingStore(database=database), new_id()
    lasting = await add(database, addition(b"lasting"))
    part = await add(database, addition(b"part", provisional=True))
    used = await add(database, addition(b"used", provisional=True))
    await bind(database, known := new_id(), [used])
    await bindings.release(known, OCCASION)
    await bind(database, run_id, [lasting, part, used])
    await bindings.release_unknown(run_id, OCCASION, before=NOW - timedelta(seconds=1))
    assert await bindings.has_inputs(run_id)
    await bindings.release_unknown(run_id, OCCASION, before=NOW)
    assert not await bindings.has_inputs(run_id)
    assert [await exists(database, each) for each in (lasting, part, used)] == [True, False, True]


async def test_orphan_outputs_go_and_the_others_are_not_asked_about_again(database: Database) -> None:
    bindings, run_id = BindingStore(database=database), new_id()
    lost = await add(database, addition(b"1", origin=output(run_id)))
    taken = await add(database, addition(b"2", origin=output(run_id, attempt=2)))
    later = NOW + timedelta(seconds=1)
    assert await bindings.pending_runs(after="", before=later, limit=10) == [run_id]
    await bindings.settle_outputs(run_id, OCCASION, referenced={taken.id})
    assert [await exists(database, each) for each in (lost, taken)] == [False, True]
    assert await bindings.pending_runs(after="", before=later, limit=10) == []


async def test_an_orphan_output_that_another_run_reads_stays(database: Database) -> None:
    run_id = new_id()
    file = await add(database, addition(origin=output(run_id)))
    await bind(database, new_id(), [file])
    await BindingStore(database=database).settle_outputs(run_id, OCCASION, referenced=set())
    assert await exists(database, file)


async def test_pending_runs_come_in_order_page_by_page(database: Database) -> None:
    bindings = BindingStore(database=database)
    file = await add(database)
    runs = sorted(new_id() for _ in range(5))
    for run_id in runs[::2]:
        await bind(database, run_id, [file])
    for run_id in runs[1::2]:
        await add(database, addition(origin=output(run_id)))
    later = NOW + timedelta(seconds=1)
    assert await bindings.pending_runs(after="", before=later, limit=3) == runs[:3]
    assert await bindings.pending_runs(after=runs[2], before=later, limit=3) == runs[3:]
    assert await bindings.pending_runs(after="", before=NOW, limit=3) == []


async def test_many_inputs_are_released_in_batches(database: Database) -> None:
    bindings, run_id = BindingStore(database=database), new_id()
    files = [await add(database, addition(b"same")) for _ in range(210)]
    await bind(database, run_id, files, delete_at_end=True)
    assert not (await bindings.release(run_id, OCCASION)).complete
    assert (await bindings.release(run_id, OCCASION)).complete
    assert await count_contents(database) == 0


async def test_facts_tell_of_every_change_and_leave_when_published(database: Database) -> None:
    store, facts, run_id = FileStore(database=database), FactStore(database=database), new_id()
    file = await add(database, addition(origin=output(run_id)))
    await store.delete(TEAM, file.id, OCCASION)
    stored, deleted = await facts.unpublished(10)
    assert (stored.type, stored.file_id, stored.team_id) == (FactType.FILE_STORED, file.id, TEAM)
    assert (stored.at, stored.origin_run_id, stored.request_id) == (NOW, run_id, "call-1")
    assert (deleted.type, deleted.file_id, deleted.size_bytes) == (FactType.FILE_DELETED, file.id, 5)
    assert [fact.id for fact in await facts.unpublished(1)] == [stored.id]
    await facts.remove([stored.id])
    assert [fact.id for fact in await facts.unpublished(10)] == [deleted.id]


async def test_lists_page_filter_and_order_the_teams_files(database: Database) -> None:
    listing, run_id = FileListing(database=database), new_id()
    for number in range(5):
        at = NOW + timedelta(seconds=number)
        wanted = addition(b"x" * number, file_name=f"{number}.png", at=at)
        await add(database, replace(wanted, file=replace(wanted.file, origin=output(run_id) if number == 3 else None)))
    await add(database, addition(team_id="other"))
    await add(database, addition(provisional=True, at=NOW - PROVISIONAL_FOR))

    async def names(**query: object) -> list[str]:
        page = await listing.list(TEAM, ListQuery(**query), now=NOW)  # type: ignore[arg-type]  # the query's fields
        return [file.file_name[0] for file in page.rows]

    assert await names() == ["4", "3", "2", "1", "0"]
    assert await names(order_by="size_bytes") == ["0", "1", "2", "3", "4"]
    assert await names(filter="size_bytes > 1 AND size_bytes < 4") == ["3", "2"]
    assert await names(filter=f'origin_run_id = "{run_id}"') == ["3"]
    assert await names(filter='file_name = "1.png" OR media_type = "image/gif"') == ["1"]
    first = await listing.list(TEAM, ListQuery(page_size=2), now=NOW)
    rest = await listing.list(TEAM, ListQuery(page_size=3, page_token=first.next_page_token), now=NOW)
    assert [file.file_name[0] for file in (*first.rows, *rest.rows)] == ["4", "3", "2", "1", "0"]
    assert rest.next_page_token == ""
    with pytest.raises(InvalidArgument):
        await names(filter="nonsense = 1", order_by="media_type")
