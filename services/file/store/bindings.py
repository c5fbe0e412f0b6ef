"""Which run reads which file, and what goes when the run has ended."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, bindparam, delete, select, update
from sqlmodel import Session

from services.common.errors import Violation
from services.common.ids import is_id
from services.common.sql import Database
from services.common.sql.prepared import Prepared
from services.file.model.binding import WantedFile, violation_of
from services.file.model.fact import Occasion
from services.file.model.file import File
from services.file.store.rows import BATCH, Row, delete_files, file_of, insert_new, locked_files, visible
from services.file.store.tables import BINDING, FILE

_INPUT = Prepared(select(BINDING.c.file_id).where(BINDING.c.run_id == bindparam("run")).limit(1))


@dataclass(frozen=True, kw_only=True)
class Bound:
    """All files, or why there are none."""

    files: tuple[File, ...] = ()
    violations: tuple[Violation, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Released:
    """One batch of a run's files was let go."""

    complete: bool
    """False: there may be more of them."""
    freed_keys: tuple[str, ...] = ()


class BindingStore:
    """Bindings of all runs."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def bind(
        self, *, team_id: str, run_id: str, wanted: Sequence[WantedFile], delete_at_end: bool, now: datetime
    ) -> Bound:
        """Bind all files, or none."""
        return await self._database.write(
            lambda session: _bind(session, team_id, run_id, wanted, delete_at_end=delete_at_end, now=now)
        )

    async def pending_runs(self, *, after: str, before: datetime, limit: int) -> list[str]:
        """Runs behind `after`, in order of their ids, of whose end we have not heard: those that have files bound, or
        made outputs whose fate is open, since before that moment.
        """
        return await self._database.read(lambda session: _pending_runs(session, after, before, limit))

    async def has_inputs(self, run_id: str) -> bool:
        """Whether the run reads any file."""
        return await self._database.glance(lambda session: _INPUT.first(session, {"run": run_id}) is not None)

    async def release(self, run_id: str, occasion: Occasion) -> Released:
        """The run has ended: let go a batch of its inputs. Those that were to go, do, unless another run reads them."""
        return await self._database.write(lambda session: _release(session, run_id, occasion))

    async def release_unknown(self, run_id: str, occasion: Occasion, *, before: datetime) -> Released:
        """There is no such run: undo a batch of what was bound to it before that moment.

        Files that were provisional and that no other run took go.
        """
        return await self._database.write(lambda session: _release_unknown(session, run_id, occasion, before))

    async def keep_outputs(self, run_ids: Collection[str], file_ids: Sequence[str]) -> list[str]:
        """Outputs that their ended runs refer to are for good: which of the runs have made others of unknown fate.

        At most BATCH runs; so many files are settled at a time.
        """
        of_runs = FILE.c.origin_run_id.in_(run_ids), ~FILE.c.settled
        for start in range(0, len(file_ids), BATCH):
            kept = update(FILE).where(*of_runs, FILE.c.id.in_(file_ids[start : start + BATCH])).values(settled=True)
            await self._database.write(lambda session, kept=kept: session.connection().execute(kept).rowcount)  # type: ignore[misc]
        left = select(FILE.c.origin_run_id).where(*of_runs).distinct()
        return await self._database.read(lambda session: list(session.connection().execute(left).scalars()))

    async def settle_outputs(self, run_id: str, occasion: Occasion, *, referenced: Collection[str] | None) -> Released:
        """The run will refer to no more outputs: delete a batch of those it does not; None: keep them all."""
        return await self._database.write(lambda session: _settle_outputs(session, run_id, occasion, referenced))


def _bind(  # the arguments of BindFiles
    session: Session, team_id: str, run_id: str, wanted: Sequence[WantedFile], *, delete_at_end: bool, now: datetime
) -> Bound:
    ids = {each.file_id for each in wanted if is_id(each.file_id)}  # other text could be none that a database takes
    rows = locked_files(session, and_(FILE.c.id.in_(ids), FILE.c.team_id == team_id, visible(now)))
    files = {row["id"]: file_of(row) for row in rows}
    found = [violation_of(each, files.get(each.file_id)) for each in wanted]
    violations = tuple(violation for violation in found if violation is not None)
    if violations:
        return Bound(violations=violations)
    connection = session.connection()
    lasting = update(FILE).where(FILE.c.id.in_(ids), FILE.c.provisional)
    if any(file.provisional for file in files.values()):
        connection.execute(lasting.values(provisional=False, expires_at=None))
        rows = locked_files(session, FILE.c.id.in_(ids))
        files = {row["id"]: file_of(row) for row in rows}
    for file_id in sorted(ids):
        binding = {"run_id": run_id, "file_id": file_id, "bound_at": now, "delete_at_end": delete_at_end}
        insert_new(session, BINDING, binding)
    return Bound(files=tuple(files[each.file_id] for each in wanted))


def _pending_runs(session: Session, after: str, before: datetime, limit: int) -> list[str]:
    origin = FILE.c.origin_run_id
    readers = select(BINDING.c.run_id).where(BINDING.c.run_id > after, BINDING.c.bound_at < before)
    makers = select(origin).where(~FILE.c.settled, origin > after, FILE.c.created_at < before)
    found: set[str] = set()
    for statement, column in ((readers, BINDING.c.run_id), (makers, origin)):
        found.update(session.connection().execute(statement.distinct().order_by(column).limit(limit)).scalars())
    return sorted(found)[:limit]


def _release(session: Session, run_id: str, occasion: Occasion) -> Released:
    bindings = _locked_bindings(session, run_id)
    if not bindings:
        return Released(complete=True)
    ids = [row["file_id"] for row in bindings]
    connection = session.connection()
    connection.execute(delete(BINDING).where(BINDING.c.run_id == run_id, BINDING.c.file_id.in_(ids)))
    going = [row["file_id"] for row in bindings if row["delete_at_end"]]
    # A file that another run still reads goes when that one has ended.
    connection.execute(update(BINDING).where(BINDING.c.file_id.in_(going)).values(delete_at_end=True))
    unread = _unread(session, going)
    freed = delete_files(session, unread, occasion)
    used = update(FILE).where(FILE.c.id.in_(ids), FILE.c.born_provisional)
    connection.execute(used.values(born_provisional=False))
    return Released(complete=len(ids) < BATCH, freed_keys=tuple(freed))


def _release_unknown(session: Session, run_id: str, occasion: Occasion, before: datetime) -> Released:
    bindings = [row for row in _locked_bindings(session, run_id) if row["bound_at"] <= before]
    ids = [row["file_id"] for row in bindings]
    session.connection().execute(delete(BINDING).where(BINDING.c.run_id == run_id, BINDING.c.file_id.in_(ids)))
    homeless = [row for row in _unread(session, ids) if row["born_provisional"]]
    freed = delete_files(session, homeless, occasion)
    return Released(complete=len(ids) < BATCH, freed_keys=tuple(freed))


def _settle_outputs(session: Session, run_id: str, occasion: Occasion, referenced: Collection[str] | None) -> Released:
    rows = locked_files(session, and_(FILE.c.origin_run_id == run_id, ~FILE.c.settled), limit=BATCH)
    kept = {row["id"] for row in rows if referenced is None or row["id"] in referenced}
    kept |= _bound_among(session, [row["id"] for row in rows])
    session.connection().execute(update(FILE).where(FILE.c.id.in_(kept)).values(settled=True))
    freed = delete_files(session, [row for row in rows if row["id"] not in kept], occasion)
    return Released(complete=len(rows) < BATCH, freed_keys=tuple(freed))


def _locked_bindings(session: Session, run_id: str) -> Sequence[Row]:
    """A batch of the run's bindings, with their files locked: what two runs share is decided by one after the other."""
    statement = select(BINDING).where(BINDING.c.run_id == run_id).order_by(BINDING.c.file_id).limit(BATCH)
    rows = session.connection().execute(statement).mappings().all()
    locked_files(session, FILE.c.id.in_([row["file_id"] for row in rows]))
    return rows


def _unread(session: Session, ids: Sequence[str]) -> list[Row]:
    """Those of the files that no run reads."""
    bound = _bound_among(session, ids)
    return list(locked_files(session, FILE.c.id.in_([each for each in ids if each not in bound])))


def _bound_among(session: Session, ids: Sequence[str]) -> set[str]:
    statement = select(BINDING.c.file_id).where(BINDING.c.file_id.in_(ids)).distinct()
    return set(session.connection().execute(statement).scalars())
