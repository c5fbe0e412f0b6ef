"""The facts that the run room publishes."""

from collections.abc import Sequence

from comfyfleet.events.v1 import event_pb2
from comfyfleet.run.v1 import run_pb2

from services.common.clock import Clock
from services.common.outbox_event import OutboxEvent
from services.common.sql import Database
from services.run.model.event import EventType
from services.run.model.state import RunState
from services.run.store.outbox import RoomFact, RunFact, mark_published, unpublished_facts

FLEET = "fleet"
RUNNER_CHANGED = "RUNNER_CHANGED"
CATALOGUE_SEEN = "CATALOGUE_SEEN"


class RunOutbox:
    """The event log as the relay reads it (EXECUTION C2)."""

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def unpublished(self, limit: int) -> Sequence[OutboxEvent]:
        """The oldest facts that wait, encoded."""
        facts = await self._database.glance(lambda session: unpublished_facts(session, limit=limit))
        return [_of_run(fact) if isinstance(fact, RunFact) else _of_room(fact) for fact in facts]

    async def mark_published(self, ids: Sequence[str]) -> None:
        """They need no publishing any more."""
        now = self._clock.now()
        await self._database.write(lambda session: mark_published(session, ids, now=now))


def _of_run(fact: RunFact) -> OutboxEvent:
    logged = fact.event
    event = event_pb2.Event(id=fact.id, team_id=fact.team_id, request_id=fact.request_id)
    event.time.FromDatetime(logged.at)
    if logged.type is EventType.OUTPUT_ADDED:
        event.run_output_added.run_id = logged.run_id
        event.run_output_added.sequence = logged.sequence
        event.run_output_added.output.CopyFrom(run_pb2.RunOutput(**logged.body))
        return _outgoing(event, "run_output_added")
    state = RunState(logged.body["state"])
    previous = logged.body["previous_state"]
    event.run_state_changed.CopyFrom(
        event_pb2.RunStateChanged(
            run_id=logged.run_id,
            sequence=logged.sequence,
            state=_state(state),
            previous_state=_state(RunState(previous)) if previous else run_pb2.RUN_STATE_UNSPECIFIED,
            attempt=logged.attempt,
            workflow_id=fact.workflow_id or "",
            workflow_version=fact.workflow_version,
            error_code=logged.body.get("error", {}).get("code", ""),
            input_file_ids=fact.input_file_ids if state.is_terminal else (),
            delete_inputs=fact.delete_inputs_at_end and state.is_terminal,
        )
    )
    return _outgoing(event, "run_state_changed")


def _of_room(fact: RoomFact) -> OutboxEvent:
    event = event_pb2.Event(id=fact.id, team_id=fact.team_id or "")
    event.time.FromDatetime(fact.at)
    if fact.type == CATALOGUE_SEEN:
        event.catalogue_seen.CopyFrom(event_pb2.CatalogueSeen(**fact.body))
        return _outgoing(event, "catalogue_seen")
    event.runner_changed.CopyFrom(event_pb2.RunnerChanged(**fact.body))
    return _outgoing(event, "runner_changed")


def _outgoing(event: event_pb2.Event, name: str) -> OutboxEvent:
    return OutboxEvent(
        id=event.id,
        subject=f"comfyfleet.{event.team_id or FLEET}.run.{name}",
        body=event.SerializeToString(),
        request_id=event.request_id or None,
    )


def _state(state: RunState) -> run_pb2.RunState.ValueType:
    return run_pb2.RunState.Value(f"RUN_STATE_{state.value}")
