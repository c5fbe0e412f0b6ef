"""What the matcher looks at: waiting lists, runners with room, runs that wait at a runner; and what it writes."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import bindparam, select, update
from sqlmodel import Session

from services.run.model.assignment import Assignment
from services.run.model.placement import AheadRun, OpenRunner, Placement, WaitingRun
from services.run.model.requirements import Offer, Requirements
from services.run.model.runner import RunnerHealth
from services.run.model.state import RunState
from services.run.store.assignment import assign, heads, open_runners, waiting_lists
from services.run.store.tables import CATALOGUE, CLASS, RUN, RUN_ATTEMPT, RUNNER, RUNNER_SLOT
from services.run.store.tally import Tally

MAX_LISTS = 1000
"""Most (class, team) lists that one pass looks at."""

_AHEAD = (
    select(
        RUN.c.id,
        RUN.c.attempt,
        RUN.c.class_id,
        RUN.c.team_id,
        RUNNER.c.id.label("runner_id"),
        RUNNER.c.dispatcher_id,
        RUNNER_SLOT.c.assigned_at,
        RUNNER_SLOT.c.recalled,
        RUN_ATTEMPT.c.submitted_at,
        RUN.c.state,
        RUN.c.cancel_requested_at,
    )
    .select_from(RUNNER_SLOT)
    .join(RUNNER, RUNNER.c.id == RUNNER_SLOT.c.runner_id)
    .join(RUN, RUN.c.id == RUNNER_SLOT.c.run_id)
    .join(RUN_ATTEMPT, (RUN_ATTEMPT.c.run_id == RUN.c.id) & (RUN_ATTEMPT.c.attempt == RUN.c.attempt))
    .where(RUNNER_SLOT.c.runner_id.in_(bindparam("runners", expanding=True)))
    .order_by(RUNNER_SLOT.c.runner_id, RUNNER_SLOT.c.assigned_at)
)
_RECALL = (
    update(RUNNER_SLOT)
    .where(RUNNER_SLOT.c.run_id == bindparam("held"), RUNNER_SLOT.c.attempt == bindparam("number"))
    .values(recalled=True)
)
_OFFERS = select(
    RUNNER.c.id,
    RUNNER.c.team_id,
    RUNNER.c.runtime,
    RUNNER.c.tags,
    RUNNER.c.capabilities_hash,
    RUNNER.c.missing_capabilities,
    RUNNER.c.enabled,
    RUNNER.c.health,
)
_CLASSES = select(CLASS.c.id, CLASS.c.requirements).where(CLASS.c.id.in_(bindparam("ids", expanding=True)))
_NODE_CLASSES = select(CATALOGUE.c.hash, CATALOGUE.c.node_classes).where(
    CATALOGUE.c.hash.in_(bindparam("hashes", expanding=True))
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Board:
    """What waits and who has room, at one moment."""

    lists: tuple[tuple[str, str], ...]
    """(class, team) lists that are not empty."""
    waiting: tuple[WaitingRun, ...]
    runners: tuple[OpenRunner, ...]
    ahead: tuple[AheadRun, ...]
    """Runs that wait at a busy runner and could be asked back; only read when nothing else waits."""


def read_board(session: Session, *, now: datetime) -> Board:
    """The board. Its cost grows with lists and runners, never with the length of a list."""
    runners = open_runners(session, now=now)
    lists = waiting_lists(session, most=MAX_LISTS)
    room = sum(len(runner.free_slots) for runner in runners if runner.has_room())
    waiting: list[WaitingRun] = []
    if room:
        for class_id, team_id in lists:
            waiting.extend(heads(session, class_id, team_id, most=room))
    ahead: list[AheadRun] = []
    if not lists and any(runner.busy == 0 for runner in runners):
        crowded = [runner.runner_id for runner in runners if runner.busy > runner.execution_slots]
        firsts = {runner.runner_id: runner.execution_slots for runner in runners}
        ahead = _read_ahead(session, crowded, firsts)
    return Board(lists=tuple(lists), waiting=tuple(waiting), runners=tuple(runners), ahead=tuple(ahead))


def write_placements(session: Session, placements: Iterable[Placement], *, now: datetime) -> list[Assignment]:
    """Assign what is still free to be assigned."""
    tally, made = Tally(), []
    for number, placement in enumerate(placements):
        assignment = assign(session, tally, placement, now=now + timedelta(microseconds=number))
        if assignment is not None:
            made.append(assignment)
    tally.write(session)
    return made


def write_recalls(session: Session, runs: Sequence[AheadRun]) -> None:
    """Ask runs back from the runners at which they wait."""
    tally = Tally()
    for run in runs:
        session.connection().execute(_RECALL, {"held": run.run_id, "number": run.attempt})
        tally.touch(run.dispatcher_id)
    tally.write(session)


def read_offers(session: Session, node_classes: Mapping[str, frozenset[str]]) -> list[Offer]:
    """What each runner has to offer. `node_classes`: those of the catalogues that are known, by hash."""
    offers: list[Offer] = []
    for row in session.connection().execute(_OFFERS):
        known: frozenset[str] | None = None
        if row.capabilities_hash:
            # Reported and not uploaded yet: until it is here, nothing but an empty graph could be promised.
            known = node_classes.get(row.capabilities_hash, frozenset())
        offers.append(
            Offer(
                runner_id=row.id,
                team_id=row.team_id,
                runtime=row.runtime,
                tags=frozenset(row.tags),
                node_classes=known,
                missing=frozenset(row.missing_capabilities),
                attached=row.enabled and row.health != RunnerHealth.OFFLINE.value,
            )
        )
    return offers


def reported_hashes(session: Session) -> set[str]:
    """Hashes of the catalogues that runners have reported."""
    return set(session.connection().execute(select(RUNNER.c.capabilities_hash).distinct()).scalars()) - {""}


def read_node_classes(session: Session, hashes: Collection[str]) -> dict[str, frozenset[str]]:
    """Node classes of those catalogues that are here."""
    rows = session.connection().execute(_NODE_CLASSES, {"hashes": sorted(hashes)})
    return {row.hash: frozenset(row.node_classes) for row in rows}


def read_classes(session: Session, ids: Collection[str]) -> dict[str, Requirements]:
    """The requirements of classes."""
    rows = session.connection().execute(_CLASSES, {"ids": sorted(ids)})
    return {row.id: Requirements.from_json(row.requirements) for row in rows}


def fill(
    session: Session,
    tally: Tally,
    runner_ids: Sequence[str],
    lists: Callable[[str], Sequence[tuple[str, str]]],
    choose: Callable[[Sequence[WaitingRun], Sequence[OpenRunner]], Sequence[Placement]],
    *,
    idle: Collection[str] = (),
    now: datetime,
) -> list[Assignment]:
    """Give runners that have just become free their next runs, in the same transaction (EXECUTION D, T2).

    `lists(runner_id)`: the waiting lists that the runner may serve; `choose`: the matcher's choice; `idle`: others
    that are thought to have nothing, who come before any run waits at a runner (EXECUTION A18).
    """
    wanted = sorted({one for runner_id in runner_ids for one in lists(runner_id)})
    if not wanted:
        return []
    candidates = [*runner_ids, *idle]
    runners = [runner for runner in open_runners(session, now=now, runner_ids=candidates) if runner.has_room()]
    room = sum(len(runner.free_slots) for runner in runners)
    if not room:
        return []
    waiting = [run for class_id, team_id in wanted for run in heads(session, class_id, team_id, most=room)]
    made: list[Assignment] = []
    for number, placement in enumerate(choose(waiting, runners)):
        assignment = assign(session, tally, placement, now=now + timedelta(microseconds=number))
        if assignment is not None:
            made.append(assignment)
    return made


def _read_ahead(session: Session, runner_ids: Sequence[str], firsts: Mapping[str, int]) -> list[AheadRun]:
    """Runs behind the executing ones that are not in the backend's own queue and were not asked back yet."""
    found: list[AheadRun] = []
    left = dict(firsts)
    if not runner_ids:
        return found
    for row in session.connection().execute(_AHEAD, {"runners": list(runner_ids)}):
        left[row.runner_id] -= 1
        is_first = left[row.runner_id] >= 0
        if is_first or row.recalled or row.submitted_at is not None or row.state != RunState.DISPATCHED.value:
            continue
        if row.cancel_requested_at is None:
            found.append(
                AheadRun(
                    run_id=row.id,
                    attempt=row.attempt,
                    class_id=row.class_id,
                    team_id=row.team_id,
                    runner_id=row.runner_id,
                    dispatcher_id=row.dispatcher_id,
                    assigned_at=row.assigned_at,
                )
            )
    return found
