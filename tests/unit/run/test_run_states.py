"""The state machine of runs, walked at random against what DESIGN §4 draws."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.run.model.state import (
    ACTIVE_STATES,
    NEXT_STATES,
    TERMINAL_STATES,
    WAITING_STATES,
    RunState,
    may_become,
)


@given(st.lists(st.sampled_from(list(RunState)), max_size=30))
def test_a_run_ends_at_most_once_whatever_is_tried(tries: list[RunState]) -> None:
    state, ends = RunState.ACCEPTED, 0
    for to in tries:
        if may_become(state, to):
            assert not state.is_terminal
            state = to
            ends += to.is_terminal
    assert ends == (1 if state.is_terminal else 0)


@given(st.sampled_from(sorted(TERMINAL_STATES)), st.sampled_from(list(RunState)))
def test_terminal_states_never_change(state: RunState, to: RunState) -> None:
    assert not may_become(state, to)


@given(st.sampled_from(list(RunState)))
def test_every_state_is_of_exactly_one_sort_and_has_its_rules(state: RunState) -> None:
    assert [state in sort for sort in (WAITING_STATES, ACTIVE_STATES, TERMINAL_STATES)].count(True) == 1
    assert state in NEXT_STATES
    assert state not in NEXT_STATES[state]


@pytest.mark.parametrize("state", sorted(WAITING_STATES | ACTIVE_STATES))
def test_whatever_goes_on_can_be_cancelled_and_timed_out(state: RunState) -> None:
    assert may_become(state, RunState.CANCELLED)
    assert may_become(state, RunState.TIMED_OUT)


def test_a_run_succeeds_only_after_it_was_given_away() -> None:
    assert not may_become(RunState.ACCEPTED, RunState.SUCCEEDED)
    assert may_become(RunState.QUEUED, RunState.SUCCEEDED), "a lapsed attempt may still report success"


def test_a_run_that_executes_is_not_invalid() -> None:
    assert not may_become(RunState.RUNNING, RunState.INVALID)
