"""The desired state, made from a snapshot."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from services.run.model.desire import (
    MAX_SPEC_BYTES,
    Action,
    DesiredState,
    ExecutionSpec,
    FileToken,
    HeldExecution,
    HeldRunner,
    Holding,
    actions,
    desired_state,
    prompt_id,
)
from services.run.model.state import RunState

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SHORT, LONG = timedelta(milliseconds=100), timedelta(seconds=3)


def held(name: str, place: int, *, predicted: timedelta | None = None, runner: str = "r") -> HeldExecution:
    return HeldExecution(
        run_id=name,
        attempt=1,
        runner_id=runner,
        epoch=1,
        team_id="t",
        state=RunState.DISPATCHED,
        assigned_at=NOW + timedelta(microseconds=place),
        cancel_requested=False,
        recalled=False,
        submitted=False,
        started_at=None,
        timeout=timedelta(hours=1),
        predicted=predicted,
        outputs_count=0,
    )


def holding(*executions: HeldExecution, slots: int = 1) -> Holding:
    runners = tuple(
        HeldRunner(runner_id=name, local_key=name, epoch=1, enabled=True, draining=False, execution_slots=slots)
        for name in ("r", "s")
    )
    return Holding(version=7, session_id="s", read_at=NOW, runners=runners, executions=executions)


def chosen(*executions: HeldExecution, slots: int = 1) -> list[Action]:
    found = actions(holding(*executions, slots=slots))
    return [found[one.key] for one in executions]


def state_of(made: Holding, *, listed: frozenset[tuple[str, int]] = frozenset(), size: int = 10) -> DesiredState:
    specs = {
        one.key: ExecutionSpec(
            prompt_id=prompt_id(one.run_id, one.attempt),
            graph_json=b"x" * size,
            extra_data_json=b"",
            inputs=(),
            output_prefix="p",
            cache_salt="",
            max_output_bytes=0,
            warm_key="",
        )
        for one in made.executions
    }
    return desired_state(
        made,
        listed=listed,
        specs=specs,
        token=lambda one: FileToken(text=one.run_id, expires_at=NOW + timedelta(minutes=5)),
        preview_wanted=lambda run_id: run_id == "a",
    )


def test_the_first_runs_and_the_rest_is_staged_while_nothing_is_known() -> None:
    assert chosen(held("a", 1), held("b", 2), held("c", 3)) == [Action.RUN, Action.STAGE, Action.STAGE]


def test_what_is_short_follows_closely_until_enough_stands_before_it() -> None:
    short = [held(name, place, predicted=SHORT) for place, name in enumerate("abcde")]
    assert chosen(*short) == [Action.RUN] * 3 + [Action.STAGE] * 2


def test_each_runner_counts_for_itself() -> None:
    assert chosen(held("a", 1, predicted=LONG), held("b", 2, runner="s")) == [Action.RUN, Action.RUN]


def test_a_runner_of_two_slots_runs_two() -> None:
    assert chosen(held("a", 1), held("b", 2), held("c", 3), slots=2) == [Action.RUN, Action.RUN, Action.STAGE]


def test_a_submitted_execution_is_not_taken_back_to_staging() -> None:
    assert chosen(held("a", 1), replace(held("b", 2), submitted=True)) == [Action.RUN, Action.RUN]


def test_cancelled_and_recalled_executions_make_room() -> None:
    cancelled = replace(held("a", 1), cancel_requested=True)
    recalled = replace(held("b", 2), recalled=True)
    assert chosen(cancelled, recalled, held("c", 3)) == [Action.CANCEL, Action.RECALL, Action.RUN]


def test_an_executing_run_is_not_recalled() -> None:
    executing = replace(held("a", 1), recalled=True, state=RunState.RUNNING)
    assert chosen(executing) == [Action.RUN]


def test_specs_go_only_to_those_who_have_not_listed_them() -> None:
    made = state_of(holding(held("a", 1), held("b", 2)), listed=frozenset({("a", 1)}))
    assert [one.spec is None for one in made.executions] == [True, False]
    assert [one.preview for one in made.executions] == [True, False]
    assert made.complete


def test_a_message_holds_so_many_bytes_of_specs_and_at_least_one() -> None:
    big = MAX_SPEC_BYTES - 1
    made = state_of(holding(held("a", 1), held("b", 2)), size=big)
    assert [one.spec is None for one in made.executions] == [False, True]
    assert not made.complete
    assert state_of(holding(held("a", 1)), size=2 * big).executions[0].spec is not None


def test_the_time_left_counts_from_the_start_at_the_backend() -> None:
    started = replace(held("a", 1), started_at=NOW - timedelta(minutes=50))
    over = replace(held("b", 2), started_at=NOW - timedelta(hours=2))
    left = [one.timeout_left for one in state_of(holding(started, over, held("c", 3))).executions]
    assert left == [timedelta(minutes=10), timedelta(), timedelta(hours=1)]


def test_a_prompt_id_is_the_same_for_the_same_attempt() -> None:
    assert prompt_id("r", 1) == prompt_id("r", 1)
    assert len({prompt_id("r", 1), prompt_id("r", 2), prompt_id("q", 1)}) == 3
