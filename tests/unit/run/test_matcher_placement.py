"""The matcher's choice."""

from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from services.run.model.placement import AheadRun, OpenRunner, WaitingRun, place, recalls, work_key

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SHORT = timedelta(milliseconds=20)


def waiting(name: str, age: int = 0, *, priority: int = 0, class_id: str = "c", team: str = "t") -> WaitingRun:
    return WaitingRun(
        run_id=name,
        attempt=0,
        class_id=class_id,
        team_id=team,
        priority=priority,
        queued_at=NOW - timedelta(seconds=age),
        work_key="w",
    )


def runner(name: str = "r", *, busy: int = 0, work: timedelta = timedelta(), ahead: int = 8) -> OpenRunner:
    return OpenRunner(
        runner_id=name,
        dispatcher_id="d",
        epoch=1,
        execution_slots=1,
        ahead_slots=ahead,
        free_slots=tuple(range(busy, 1 + ahead)),
        busy=busy,
        work=work,
    )


def placed(
    runs: list[WaitingRun],
    runners: list[OpenRunner],
    *,
    predicted: timedelta | None = None,
    refused: Collection[tuple[str, str]] = (),
) -> list[tuple[str, str]]:
    names = [one.runner_id for one in runners]
    made = place(
        runs,
        runners,
        eligible=lambda class_id, _team: [name for name in names if (class_id, name) not in refused],
        predict=lambda _key: predicted,
        most=100,
    )
    assert len({(one.runner_id, one.slot) for one in made}) == len(made)
    return [(one.run.run_id, one.runner_id) for one in made]


def test_priority_comes_before_age() -> None:
    runs = [waiting("young", 1), waiting("old", 9), waiting("urgent", 0, priority=1)]
    assert [run for run, _ in placed(runs, [runner(ahead=0)])] == ["urgent"]
    assert [run for run, _ in placed(runs[:2], [runner(ahead=0)])] == ["old"]


def test_idle_runners_come_before_busy_ones() -> None:
    assert placed([waiting("a")], [runner("busy", busy=1, work=SHORT), runner("idle")]) == [("a", "idle")]


def test_work_of_unknown_length_waits_singly_behind_the_executing_one() -> None:
    runs = [waiting(str(number), 9 - number) for number in range(9)]
    assert len(placed(runs, [runner()])) == 2


def test_short_work_fills_the_slots_ahead() -> None:
    runs = [waiting(str(number), 20 - number) for number in range(20)]
    assert len(placed(runs, [runner()], predicted=SHORT)) == 9
    assert len(placed(runs, [runner()], predicted=timedelta(milliseconds=100))) == 3


def test_a_run_that_nobody_may_serve_holds_up_nobody() -> None:
    runs = [waiting("impossible", 9, class_id="x"), waiting("possible", 1)]
    assert placed(runs, [runner()], refused=[("x", "r")]) == [("possible", "r")]


def test_several_runners_share_the_work() -> None:
    runs = [waiting(str(number), 9 - number) for number in range(3)]
    assert sorted(name for _, name in placed(runs, [runner("a"), runner("b"), runner("c")])) == ["a", "b", "c"]


def test_a_waiting_run_is_recalled_once_for_each_idle_runner_that_may_serve_it() -> None:
    def ahead(name: str, place_: int) -> AheadRun:
        return AheadRun(
            run_id=name,
            attempt=1,
            class_id="c",
            team_id="t",
            runner_id="busy",
            dispatcher_id="d",
            assigned_at=NOW + timedelta(seconds=place_),
        )

    runs = [ahead("second", 2), ahead("first", 1)]
    idle = [runner("idle"), replace(runner("working"), busy=1)]
    assert [one.run_id for one in recalls(runs, idle, eligible=lambda _class, _team: ["idle", "working"])] == ["first"]
    assert not recalls(runs, idle, eligible=lambda _class, _team: ["working"])


def test_runs_of_one_workflow_version_are_alike() -> None:
    assert work_key("w", 2, "c") == work_key("w", 2, "d") != work_key("w", 3, "c")
    assert work_key(None, 0, "c") == "c"
