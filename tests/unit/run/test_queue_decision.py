"""What becomes of a run when an attempt ends: the whole table."""

import pytest

from services.run.model.decision import Budget, decide
from services.run.model.error import RunError
from services.run.model.report import Finish, Outcome
from services.run.model.state import RunState

FINAL = RunError(code="NODE_ERROR", message="It broke.")
SHAKY = RunError(code="OUT_OF_MEMORY", message="It was too big.", retryable=True)


def budget(
    *,
    cancel_requested: bool = False,
    blamed_attempts: int = 0,
    retry_on_lost: bool = True,
    submitted: bool = True,
    began: bool = True,
) -> Budget:
    return Budget(
        cancel_requested=cancel_requested,
        blamed_attempts=blamed_attempts,
        max_attempts=2,
        retry_on_lost=retry_on_lost,
        submitted=submitted,
        began=began,
    )


@pytest.mark.parametrize(
    ("outcome", "error", "state", "blamed"),
    [
        (Outcome.SUCCEEDED, None, RunState.SUCCEEDED, False),
        (Outcome.FAILED, FINAL, RunState.FAILED, True),
        (Outcome.FAILED, SHAKY, RunState.QUEUED, True),
        (Outcome.INTERRUPTED, None, RunState.QUEUED, False),
        (Outcome.REJECTED_HERE, None, RunState.QUEUED, False),
        (Outcome.TIMED_OUT, None, RunState.TIMED_OUT, True),
        (Outcome.LOST, None, RunState.QUEUED, True),
        (Outcome.LAPSED, None, RunState.QUEUED, True),
        (Outcome.OUTPUT_LOST, None, RunState.QUEUED, True),
        (Outcome.RECALLED, None, RunState.QUEUED, False),
        (Outcome.HANDED_BACK, None, RunState.QUEUED, False),
    ],
)
def test_every_outcome_has_its_next_step(
    outcome: Outcome, error: RunError | None, state: RunState, blamed: bool
) -> None:
    decision = decide(budget(), Finish(outcome=outcome, error=error))
    assert (decision.state, decision.blamed) == (state, blamed)


@pytest.mark.parametrize("outcome", [Outcome.LOST, Outcome.LAPSED, Outcome.OUTPUT_LOST])
def test_the_last_blamed_attempt_fails_the_run(outcome: Outcome) -> None:
    decision = decide(budget(blamed_attempts=1), Finish(outcome=outcome))
    assert (decision.state, decision.blamed) == (RunState.FAILED, True)
    assert decision.error is not None


@pytest.mark.parametrize("outcome", [Outcome.RECALLED, Outcome.HANDED_BACK, Outcome.INTERRUPTED, Outcome.REJECTED_HERE])
def test_free_ends_are_never_the_last(outcome: Outcome) -> None:
    assert decide(budget(blamed_attempts=1), Finish(outcome=outcome)).retries


@pytest.mark.parametrize("outcome", [each for each in Outcome if each not in {Outcome.SUCCEEDED, Outcome.TIMED_OUT}])
def test_after_a_cancel_nothing_is_tried_again(outcome: Outcome) -> None:
    decision = decide(budget(cancel_requested=True), Finish(outcome=outcome, error=SHAKY))
    assert decision.state.is_terminal
    assert decision.state in (RunState.CANCELLED, RunState.FAILED)


def test_success_wins_over_a_cancel() -> None:
    assert decide(budget(cancel_requested=True), Finish(outcome=Outcome.SUCCEEDED)).state is RunState.SUCCEEDED


def test_a_loss_before_the_backend_had_it_is_free() -> None:
    waiting = budget(blamed_attempts=1, retry_on_lost=False, submitted=False, began=False)
    decision = decide(waiting, Finish(outcome=Outcome.LAPSED))
    assert (decision.state, decision.blamed) == (RunState.QUEUED, False)


@pytest.mark.parametrize("began", [True, False])
def test_a_paid_run_is_not_repeated_when_nobody_knows_how_far_it_came(began: bool) -> None:
    decision = decide(budget(retry_on_lost=False, began=began), Finish(outcome=Outcome.LOST))
    assert decision.state is RunState.FAILED
    assert decision.error is not None
    assert decision.error.code == "RUNNER_LOST"


def test_a_graph_is_invalid_when_nobody_is_left_to_ask() -> None:
    asked = budget(submitted=False, began=False)
    assert decide(asked, Finish(outcome=Outcome.REJECTED_HERE), others_eligible=False).state is RunState.INVALID
    assert decide(asked, Finish(outcome=Outcome.INVALID)).state is RunState.INVALID


def test_a_run_that_executed_is_never_invalid() -> None:
    assert decide(budget(), Finish(outcome=Outcome.INVALID)).state is RunState.FAILED
