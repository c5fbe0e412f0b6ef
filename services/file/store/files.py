"""Records of files and the places of their bytes."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, bindparam, case, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from services.common.errors import AlreadyExists, Unavailable
from services.common.sql import Database, UtcDateTime
from services.common.sql.prepared import Prepared
from services.file.model.access import output_limit
from services.file.model.disk import disk_full
from services.file.model.fact import FactType, Occasion
from services.file.model.file import Content, File, Origin, StoredFile
from services.file.store.rows import (
    BATCH,
    Row,
    add_content,
    delete_files,
    file_of,
    is_bound,
    locked_files,
    tell,
    values_of,
    visible,
)
from services.file.store.tables import BINDING, CONTENT, FILE

_INSERT_FILE = Prepared(insert(FILE))
_OUTPUT_AND_TOTAL = Prepared(
    select(
        func.max(
            case(
                (
                    and_(
                        FILE.c.origin_node_id == bindparam("node_id"),
                        FILE.c.origin_key == bindparam("key"),
                        FILE.c.origin_position == bindparam("position"),
                    ),
                    FILE.c.id,
                )
            )
        ).label("id"),
        func.coalesce(func.sum(FILE.c.size_bytes), 0).label("total"),
    ).where(FILE.c.origin_run_id == bindparam("run_id"), FILE.c.origin_attempt == bindparam("attempt"))
)
_STORED = select(FILE, CONTENT.c.body, CONTENT.c.blob_key).join(CONTENT).where(FILE.c.id == bindparam("file"))
_BY_ID = Prepared(_STORED)
_BY_ID_OF_TEAM = Prepared(
    _STORED.where(FILE.c.team_id == bindparam("team"), visible(bindparam("now", type_=UtcDateTime())))
)
_SAME_REQUEST = Prepared(
    select(FILE.c.id).where(FILE.c.team_id == bindparam("team"), FILE.c.request_id == bindparam("request"))
)
_BOUND = Prepared(
    select(BINDING.c.run_id).where(BINDING.c.run_id == bindparam("run"), BINDING.c.file_id == bindparam("file"))
)


@dataclass(frozen=True, kw_only=True)
class Addition:
    """A record that is to be made, its bytes being safe in `content` already."""

    file: File
    content: Content
    request_id: str | None
    request_hash: str
    max_attempt_bytes: int | None = None
    """Most bytes that all outputs of its attempt may have; None: it is no output."""


@dataclass(frozen=True, kw_only=True)
class Added:
    """The record that stands now."""

    stored: StoredFile
    created: bool
    """False: it stood already, made by the same request before."""
    took_content: bool
    """Whether the content offered is the one kept; the blob may be removed where it is not."""
    freed_keys: tuple[str, ...] = ()
    """Blobs to remove."""


class FileStore:
    """Files of all teams; every question names the team."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def find(self, team_id: str, file_id: str, *, now: datetime) -> StoredFile | None:
        """The team's file; None if there is none."""
        return await self._database.glance(lambda session: _find(session, team_id, file_id, now))

    async def find_bound(self, run_id: str, file_id: str) -> bool:
        """Whether the run reads the file."""
        wanted = {"run": run_id, "file": file_id}
        return await self._database.glance(lambda session: _BOUND.first(session, wanted) is not None)

    async def attempt_bytes(self, run_id: str, attempt: int) -> int:
        """How many bytes of outputs the attempt has stored."""
        total = select(func.coalesce(func.sum(FILE.c.size_bytes), 0)).where(
            FILE.c.origin_run_id == run_id, FILE.c.origin_attempt == attempt
        )
        return int(await self._database.read(lambda session: session.connection().execute(total).scalar_one()))

    async def add(self, addition: Addition, occasion: Occasion) -> Added:
        """Make the record and tell of it, in one transaction.

        AlreadyExists REQUEST_ID_REUSED, or ResourceExhausted OUTPUT_LIMIT or DISK_FULL.
        """
        try:
            try:
                return await self._database.write(lambda session: _add(session, addition, occasion))
            except IntegrityError:  # the same request came twice at once: the other one has made the record by now
                return await self._database.write(lambda session: _add(session, addition, occasion))
        except Unavailable as error:
            raise (disk_full() if _is_full(error.__cause__) else error) from error.__cause__

    async def replace_blob(self, sha256: str, *, lost: str, found: str) -> bool:
        """Say that these bytes are in another blob; False if they are no longer where the caller thought."""
        statement = update(CONTENT).where(CONTENT.c.sha256 == sha256, CONTENT.c.blob_key == lost).values(blob_key=found)
        return await self._database.write(lambda session: bool(session.connection().execute(statement).rowcount))

    async def delete(self, team_id: str, file_id: str, occasion: Occasion) -> "Deletion":
        """Delete the team's file unless a run reads it."""
        return await self._database.write(lambda session: _delete(session, team_id, file_id, occasion))

    async def delete_expired(self, occasion: Occasion) -> tuple[int, list[str]]:
        """Delete a batch of files whose time is over: how many there were, and the blobs to remove."""

        def unit(session: Session) -> tuple[int, list[str]]:
            over = and_(FILE.c.expires_at <= occasion.at, ~is_bound())
            oldest = select(FILE.c.id).where(over).order_by(FILE.c.expires_at).limit(BATCH)
            ids = session.connection().execute(oldest).scalars().all()
            rows = locked_files(session, and_(FILE.c.id.in_(ids), over))
            return len(rows), delete_files(session, rows, occasion)

        return await self._database.write(unit)

    async def named_blobs(self, keys: Collection[str]) -> set[str]:
        """Which of these blobs some record has."""
        statement = select(CONTENT.c.blob_key).where(CONTENT.c.blob_key.in_(keys))
        return await self._database.read(lambda session: set(session.connection().execute(statement).scalars()))


@dataclass(frozen=True, kw_only=True)
class Deletion:
    """What became of a wish to delete."""

    found: bool
    bound_to: tuple[str, ...] = ()
    """Runs that read it, which is why it still is."""
    freed_keys: tuple[str, ...] = ()


def _find(session: Session, team_id: str, file_id: str, now: datetime) -> StoredFile | None:
    return _stored(_BY_ID_OF_TEAM.first(session, {"team": team_id, "file": file_id, "now": now}))


def _stored(row: Any | None) -> StoredFile | None:
    if row is None:
        return None
    return StoredFile(file=file_of(row._asdict()), content=Content(body=row.body, blob_key=row.blob_key))


def _add(session: Session, addition: Addition, occasion: Occasion) -> Added:
    freed: Sequence[str] = ()
    same_id = _same_request(session, addition)
    if same_id is not None:
        rows = locked_files(session, FILE.c.id == same_id)
        if rows and not _is_over(rows[0], occasion.at):
            return _replay(session, addition, rows[0])
        freed = delete_files(session, rows, occasion)
    content, took = add_content(session, addition.file, addition.content)
    values = {
        **values_of(addition.file),
        "request_id": addition.request_id,
        "request_hash": addition.request_hash,
    }
    _INSERT_FILE.run(session, values)
    tell(session, FactType.FILE_STORED, values, occasion)
    return Added(
        stored=StoredFile(file=addition.file, content=content),
        created=True,
        took_content=took,
        freed_keys=tuple(freed),
    )


def _same_request(session: Session, addition: Addition) -> str | None:
    """The id of the record that this request made before. An output that is new must fit into what its attempt may."""
    file = addition.file
    if file.origin is not None:
        same_id, total = _output_and_total(session, file.origin)
        limit = addition.max_attempt_bytes
        if same_id is None and limit is not None and total + file.size_bytes > limit:
            raise output_limit()
        return same_id
    if addition.request_id is None:
        return None
    same = _SAME_REQUEST.first(session, {"team": file.team_id, "request": addition.request_id})
    return None if same is None else same.id


def _output_and_total(session: Session, origin: Origin) -> tuple[str | None, int]:
    """The record of just this output, if there is one, and how many bytes of outputs the attempt has."""
    if session.get_bind().dialect.name == "postgresql":
        # Two outputs at once must not both find room for themselves.
        lock = text("SELECT pg_advisory_xact_lock(hashtextextended(:run, :attempt))")
        session.connection().execute(lock, {"run": origin.run_id, "attempt": origin.attempt})
    found = _OUTPUT_AND_TOTAL.all(session, vars(origin))[0]
    return found.id, int(found.total)


def _is_over(row: Row, now: datetime) -> bool:
    return row["expires_at"] is not None and row["expires_at"] <= now


def _replay(session: Session, addition: Addition, row: Row) -> Added:
    """The first answer again. An output that was stored stands, whatever a second fetch of it gave (EXECUTION A12)."""
    if addition.file.origin is None and row["request_hash"] != addition.request_hash:
        raise AlreadyExists(
            "Another file was stored under this request_id; choose a new one.", reason="REQUEST_ID_REUSED"
        )
    stored = _stored(_BY_ID.first(session, {"file": row["id"]}))
    assert stored is not None
    return Added(stored=stored, created=False, took_content=False)


def _is_full(error: BaseException | None) -> bool:
    """Whether the database refused because its disk is full: SQLITE_FULL, or PostgreSQL's `disk_full`."""
    refusal = getattr(error, "orig", None)
    return getattr(refusal, "sqlite_errorcode", 0) & 0xFF == 13 or getattr(refusal, "sqlstate", "") == "53100"


def _delete(session: Session, team_id: str, file_id: str, occasion: Occasion) -> Deletion:
    rows = locked_files(session, and_(FILE.c.id == file_id, FILE.c.team_id == team_id, visible(occasion.at)))
    if not rows:
        return Deletion(found=False)
    readers = select(BINDING.c.run_id).where(BINDING.c.file_id == file_id).order_by(BINDING.c.run_id)
    bound_to = tuple(session.connection().execute(readers).scalars())
    if bound_to:
        return Deletion(found=True, bound_to=bound_to)
    return Deletion(found=True, freed_keys=tuple(delete_files(session, rows, occasion)))
