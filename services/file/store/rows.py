"""Between rows and the model, and the steps that several units share."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Table, bindparam, delete, exists, insert, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session

from services.common.ids import new_id
from services.common.sql.prepared import Prepared
from services.file.model.fact import FactType, Occasion
from services.file.model.file import Content, File, Origin
from services.file.store.tables import BINDING, CONTENT, FACT, FILE

BATCH = 200
"""Most files that one background unit touches (EXECUTION C4)."""

Row = Mapping[Any, Any]

_INSERT_NEW = {
    table.name: {
        "sqlite": Prepared(sqlite.insert(table).on_conflict_do_nothing()),
        "postgresql": Prepared(postgresql.insert(table).on_conflict_do_nothing()),
    }
    for table in (CONTENT, BINDING)
}
_PRESENT = Prepared(
    select(CONTENT.c.body, CONTENT.c.blob_key).where(CONTENT.c.sha256 == bindparam("hash")).with_for_update()
)
_INSERT_FACT = Prepared(insert(FACT))


def file_of(row: Row) -> File:
    """The record in a row of `file`."""
    return File(
        id=row["id"],
        team_id=row["team_id"],
        file_name=row["file_name"],
        media_type=row["media_type"],
        size_bytes=row["size_bytes"],
        sha256=row["sha256"],
        blake3=row["blake3"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        origin=_origin_of(row),
        provisional=row["provisional"],
    )


def _origin_of(row: Row) -> Origin | None:
    if row["origin_run_id"] is None:
        return None
    return Origin(
        run_id=row["origin_run_id"],
        attempt=row["origin_attempt"],
        node_id=row["origin_node_id"],
        key=row["origin_key"],
        position=row["origin_position"],
    )


def values_of(file: File) -> dict[str, Any]:
    """The columns of `file` that its record fills."""
    origin = file.origin
    return {
        "id": file.id,
        "team_id": file.team_id,
        "file_name": file.file_name,
        "media_type": file.media_type,
        "size_bytes": file.size_bytes,
        "sha256": file.sha256,
        "blake3": file.blake3,
        "created_at": file.created_at,
        "expires_at": file.expires_at,
        "provisional": file.provisional,
        "born_provisional": file.provisional,
        "origin_run_id": origin and origin.run_id,
        "origin_attempt": origin and origin.attempt,
        "origin_node_id": origin and origin.node_id,
        "origin_key": origin and origin.key,
        "origin_position": origin and origin.position,
        "settled": origin is None,
    }


def visible(now: datetime | BindParameter[datetime]) -> ColumnElement[bool]:
    """The condition of a file that still is: an expired one is gone, also before the sweep has found it."""
    return or_(FILE.c.expires_at.is_(None), FILE.c.expires_at > now)


def insert_new(session: Session, table: Table, values: Mapping[str, Any]) -> bool:
    """Insert a row unless one of its unique values is taken; whether it was inserted."""
    statement = _INSERT_NEW[table.name][session.get_bind().dialect.name]
    return statement.run(session, values) > 0


def locked_files(session: Session, condition: ColumnElement[bool], *, limit: int | None = None) -> Sequence[Row]:
    """Files that meet `condition`, locked until the unit ends, always in the same order."""
    statement = select(FILE).where(condition).order_by(FILE.c.id).limit(limit).with_for_update()
    return session.connection().execute(statement).mappings().all()


def add_content(session: Session, file: File, content: Content) -> tuple[Content, bool]:
    """Make sure that the file's bytes have a row: where they are, and whether `content` is now that place.

    The row found is locked: until this unit ends nobody can decide that no record has these bytes.
    """
    values = {
        "sha256": file.sha256,
        "blake3": file.blake3,
        "size_bytes": file.size_bytes,
        "body": content.body,
        "blob_key": content.blob_key,
    }
    while True:
        if insert_new(session, CONTENT, values):
            return content, True
        row = _PRESENT.first(session, {"hash": file.sha256})
        if row is not None:  # None: it was deleted since the insertion met it
            return Content(body=row.body, blob_key=row.blob_key), False


def delete_files(session: Session, rows: Sequence[Row], occasion: Occasion) -> list[str]:
    """Delete these locked records, with the bytes that no other record has; the keys of blobs to remove afterwards."""
    if not rows:
        return []
    connection = session.connection()
    connection.execute(delete(FILE).where(FILE.c.id.in_([row["id"] for row in rows])))
    for row in rows:
        tell(session, FactType.FILE_DELETED, row, occasion)
    hashes = sorted({row["sha256"] for row in rows})
    # Locked first and looked at in a second statement: an upload of the same bytes that was faster is then seen.
    connection.execute(
        select(CONTENT.c.sha256).where(CONTENT.c.sha256.in_(hashes)).order_by(CONTENT.c.sha256).with_for_update()
    )
    unused = delete(CONTENT).where(CONTENT.c.sha256.in_(hashes), ~exists().where(FILE.c.sha256 == CONTENT.c.sha256))
    keys = connection.execute(unused.returning(CONTENT.c.blob_key)).scalars()
    return [key for key in keys if key is not None]


def is_bound() -> ColumnElement[bool]:
    """The condition of a file that a run reads."""
    return exists().where(BINDING.c.file_id == FILE.c.id)


def tell(session: Session, type_: FactType, row: Row, occasion: Occasion) -> None:
    """Put a fact about the file in `row` into the outbox."""
    values = {
        "id": new_id(),
        "type": type_.value,
        "at": occasion.at,
        "team_id": row["team_id"],
        "file_id": row["id"],
        "sha256": row["sha256"],
        "size_bytes": row["size_bytes"],
        "origin_run_id": row["origin_run_id"],
        "request_id": occasion.request_id,
    }
    _INSERT_FACT.run(session, values)
