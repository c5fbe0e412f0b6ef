"""The facts that the run room publishes."""

from collections.abc import Mapping, Sequence

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
_STATES: Mapping[str | None, run_pb2.RunState.ValueType] = {
    None: run_pb2.RUN_STATE_UNSPECIFIED,
    **{state.value: run_pb2.RunState.Value(f"RUN_STATE_{state.value}") for state in RunState},
}


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
        added = event.run_output_added
        added.run_id, added.sequence = logged.run_id, logged.sequence
        added.output.CopyFrom(run_pb2.RunOutput(**logged.body))
        return _outgoing(event, "run_output_added")
    changed, body = event.run_state_changed, logged.body
    changed.run_id, changed.sequence, changed.attempt = logged.run_id, logged.sequence, logged.attempt
    changed.state, changed.previous_state = _STATES[body["state"]], _STATES[body["previous_state"]]
    changed.workflow_id, changed.workflow_version = fact.workflow_id or "", fact.workflow_version
    if "error" in body:
        changed.error_code = body["error"]["code"]
    if RunState(body["state"]).is_terminal:
        changed.input_file_ids.extend(fact.input_file_ids)
        changed.delete_inputs = fact.delete_inputs_at_end
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
