"""What of a report is worth a transaction."""

from dataclasses import replace
from datetime import timedelta

from services.run.model.digest import Digest, Kind, Memory, digest
from services.run.model.progress import RunProgress
from services.run.model.report import ExecutionReport, Finish, Outcome, OutputReport, Phase
from services.run.model.state import RunState
from tests.unit.run.test_queue_desire import NOW, held

LEASE = timedelta(seconds=30)
OUTPUT = OutputReport(
    ordinal=0,
    node_id="2",
    key="images",
    position=0,
    file_id="f",
    sha256="",
    size_bytes=1,
    media_type="image/png",
    file_name="a.png",
    kind="output",
    cached=False,
)
HELD = held("a", 1)


def report(phase: Phase = Phase.RUNNING, *, submitted: bool = False) -> ExecutionReport:
    finish = Finish(outcome=Outcome.SUCCEEDED) if phase is Phase.FINISHED else None
    return ExecutionReport(
        run_id="a", attempt=1, runner_id="r", epoch=1, phase=phase, submitted=submitted, finish=finish
    )


def found(*reports: ExecutionReport, memory: Memory | None = None, after: timedelta = timedelta()) -> Digest:
    return digest(reports, {HELD.key: HELD}, memory or Memory(), lease=LEASE, now=NOW + after)


def kinds(made: Digest) -> list[Kind]:
    return [change.kind for change in made.changes]


def test_an_end_is_written_at_once() -> None:
    assert kinds(found(report(Phase.FINISHED))) == [Kind.ENDED]


def test_a_beginning_is_written_once_the_run_is_not_short() -> None:
    memory = Memory()
    early = found(report(), memory=memory)
    assert early.is_empty
    assert early.due == NOW + timedelta(milliseconds=250)
    assert kinds(found(report(), memory=memory, after=timedelta(milliseconds=250))) == [Kind.BEGUN]


def test_an_execution_that_says_it_is_long_does_not_wait() -> None:
    assert kinds(found(replace(report(), elapsed=timedelta(seconds=1)))) == [Kind.BEGUN]


def test_being_in_the_backends_queue_is_noted_like_a_beginning() -> None:
    memory = Memory()
    waiting = report(Phase.WAITING, submitted=True)
    assert found(waiting, memory=memory).is_empty
    assert kinds(found(waiting, memory=memory, after=timedelta(seconds=1))) == [Kind.SUBMITTED]
    assert found(report(Phase.WAITING), memory=Memory(), after=timedelta(seconds=9)).due is None


def test_new_outputs_of_a_running_execution_are_written() -> None:
    executing = replace(HELD, state=RunState.RUNNING, submitted=True)
    said = replace(report(), outputs=(OUTPUT,), elapsed=timedelta(seconds=1))
    assert kinds(digest([said], {HELD.key: executing}, Memory(), lease=LEASE, now=NOW)) == [Kind.BEGUN]
    recorded = replace(executing, outputs_count=1)
    memory = Memory()
    adopted = digest([said], {HELD.key: recorded}, memory, lease=LEASE, now=NOW)
    assert kinds(adopted) == [Kind.BEGUN]  # a session that was started again may count otherwise: the rows know
    memory.wrote(adopted.changes)
    assert digest([said], {HELD.key: recorded}, memory, lease=LEASE, now=NOW).is_empty


def test_progress_is_stored_once_a_second() -> None:
    executing = replace(HELD, state=RunState.RUNNING, submitted=True)
    said = replace(report(), progress=RunProgress(attempt=1, fraction=0.5))
    memory = Memory(progress_stored={HELD.key: NOW})
    for after, stored in ((0.5, 0), (1.0, 1)):
        made = digest([said], {HELD.key: executing}, memory, lease=LEASE, now=NOW + timedelta(seconds=after))
        assert len(made.progress) == stored


def test_a_report_under_another_epoch_or_runner_does_not_count() -> None:
    end = report(Phase.FINISHED)
    assert found(replace(end, epoch=0), replace(end, runner_id="s")).is_empty


def test_what_is_not_held_may_still_count_once() -> None:
    stranger = replace(report(Phase.FINISHED), run_id="b")
    assert kinds(found(stranger)) == [Kind.LATE]
    assert found(stranger, memory=Memory(settled={("b", 1)})).is_empty
    assert found(replace(stranger, orphan=True)).is_empty
    assert found(replace(report(Phase.STAGING), run_id="b")).is_empty


def test_an_execution_lapses_when_nothing_has_confirmed_it_for_a_lease() -> None:
    memory = Memory()
    assert not found(memory=memory).lapsed
    assert not found(memory=memory, after=LEASE).lapsed
    assert found(memory=memory, after=LEASE + timedelta(seconds=1)).lapsed == (HELD,)
    old = replace(report(Phase.STAGING), observed_age=LEASE + timedelta(seconds=1))
    assert found(old).lapsed == (HELD,)
    assert not found(report(Phase.STAGING)).lapsed


def test_memory_keeps_nothing_of_what_is_gone() -> None:
    memory = Memory(first_seen={HELD.key: NOW}, confirmed={HELD.key: NOW}, settled={HELD.key})
    memory.forget_all_but([], [HELD.key])
    assert (memory.first_seen, memory.confirmed, memory.settled) == ({}, {}, {HELD.key})
    memory.forget_all_but([], [])
    assert not memory.settled
