"""What becomes of a run when one of its attempts ends (EXECUTION A8, A11, A19)."""

from dataclasses import dataclass

from services.run.model.error import RUNNER_LOST, TIMEOUT_PASSED, RunError
from services.run.model.report import Finish, Outcome
from services.run.model.state import RunState

INTERRUPTED_BY_OTHERS = "INTERRUPTED_BY_OTHERS"
OUTPUT_LOST = "OUTPUT_LOST"
GRAPH_REFUSED = "GRAPH_REFUSED"

FREE_ENDS = frozenset(
    {Outcome.RECALLED, Outcome.HANDED_BACK, Outcome.INTERRUPTED, Outcome.REJECTED_HERE},
)
"""Ends that count neither against the run nor against the runner; only `queue_ttl` bounds them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """What is known of the run that bears on its next step."""

    cancel_requested: bool
    blamed_attempts: int
    max_attempts: int
    retry_on_lost: bool
    submitted: bool
    """Whether it was in the backend's queue: nobody knows how far it came."""
    began: bool
    """Whether the backend said that it executes."""

    @property
    def executing(self) -> bool:
        """Whether its loss may be its own doing."""
        return self.submitted or self.began


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """The run's next step."""

    state: RunState
    """QUEUED, or how it ends."""
    blamed: bool = False
    """Whether the end counts against `max_attempts`."""
    error: RunError | None = None

    @property
    def retries(self) -> bool:
        """Whether another attempt follows."""
        return self.state is RunState.QUEUED


def decide(run: Budget, finish: Finish, *, others_eligible: bool = True) -> Decision:
    """The run's next step after an attempt ended so.

    `others_eligible`: for REJECTED_HERE, whether an attached runner is left that did not refuse it.
    """
    error = finish.error or _missing_error(finish.outcome)
    if finish.outcome is Outcome.SUCCEEDED:
        return Decision(state=RunState.SUCCEEDED)  # a success that was faster than a cancel stays one
    if finish.outcome is Outcome.TIMED_OUT:
        return Decision(state=RunState.TIMED_OUT, blamed=True, error=error)
    if finish.outcome is Outcome.INVALID:
        return _invalid(run, error)
    if finish.outcome is Outcome.FAILED and not error.retryable:
        return Decision(state=RunState.FAILED, blamed=True, error=error)
    if run.cancel_requested:
        return Decision(state=RunState.CANCELLED)
    if finish.outcome is Outcome.REJECTED_HERE and not others_eligible:
        return _invalid(run, error)
    if finish.outcome in FREE_ENDS or (_is_loss(finish.outcome) and not run.executing):
        return Decision(state=RunState.QUEUED, error=error)
    if _is_loss(finish.outcome) and not run.retry_on_lost:
        return Decision(state=RunState.FAILED, blamed=True, error=error)
    if run.blamed_attempts + 1 >= run.max_attempts:
        return Decision(state=RunState.FAILED, blamed=True, error=error)
    return Decision(state=RunState.QUEUED, blamed=True, error=error)


def _invalid(run: Budget, error: RunError) -> Decision:
    # INVALID says that no node ran; a backend that refuses what it already executes contradicts itself.
    return Decision(state=RunState.FAILED if run.began else RunState.INVALID, blamed=True, error=error)


def _is_loss(outcome: Outcome) -> bool:
    return outcome in (Outcome.LOST, Outcome.LAPSED)


def _missing_error(outcome: Outcome) -> RunError:
    """The error of an end for which the dispatcher gave none."""
    if _is_loss(outcome):
        return RunError(code=RUNNER_LOST, message="The runner was lost while it had the run.", retryable=True)
    if outcome is Outcome.TIMED_OUT:
        return RunError(code=TIMEOUT_PASSED, message="It executed longer than its timeout.")
    if outcome is Outcome.INTERRUPTED:
        text = "The backend was interrupted by somebody else."
        return RunError(code=INTERRUPTED_BY_OTHERS, message=text, retryable=True)
    if outcome is Outcome.OUTPUT_LOST:
        return RunError(code=OUTPUT_LOST, message="It ended well, but an output could not be read.", retryable=True)
    if outcome in (Outcome.REJECTED_HERE, Outcome.INVALID):
        return RunError(code=GRAPH_REFUSED, message="The backend refused the graph.", retryable=False)
    return RunError(code=outcome.value, message="The attempt ended without a result.", retryable=True)
