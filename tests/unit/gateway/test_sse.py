"""The bytes of server-sent events."""

import json

from comfyfleet.run.v1 import run_event_pb2, run_pb2

from gateway.rest.run_json import ends, event_json
from gateway.sse import event_frame, frame

BASE = "http://fleet"


def test_logged_event_carries_its_sequence_as_id() -> None:
    assert frame("state_changed", b"{}", event_id=7) == b"id: 7\nevent: state_changed\ndata: {}\n\n"


def test_event_outside_the_log_leaves_the_cursor_alone() -> None:
    assert frame("progress", b"{}", event_id=0) == b"event: progress\ndata: {}\n\n"


def test_text_of_a_caller_cannot_end_a_frame() -> None:
    run = run_pb2.Run(id="r", display_name="a\n\nevent: x\r\ndata: y\u2028")
    made = event_frame(run_event_pb2.RunEvent(run_id="r", sequence=1, snapshot=run), base=BASE)
    assert made.count(b"\n") == 4
    assert json.loads(made.split(b"data: ", 1)[1])["run"]["display_name"] == run.display_name


def test_events_end_with_a_terminal_state() -> None:
    def changed(state: run_pb2.RunState.ValueType) -> run_event_pb2.RunEvent:
        return run_event_pb2.RunEvent(state_changed=run_event_pb2.RunStateChange(state=state))

    assert not ends(changed(run_pb2.RUN_STATE_RUNNING))
    assert ends(changed(run_pb2.RUN_STATE_INVALID))
    assert ends(run_event_pb2.RunEvent(snapshot=run_pb2.Run(state=run_pb2.RUN_STATE_SUCCEEDED)))
    assert not ends(run_event_pb2.RunEvent(output_added=run_pb2.RunOutput()))


def test_every_event_of_the_contract_has_its_json() -> None:
    for field in run_event_pb2.RunEvent.DESCRIPTOR.oneofs_by_name["event"].fields:
        event = run_event_pb2.RunEvent(run_id="r", sequence=3)
        getattr(event, field.name).SetInParent()
        name, body = event_json(event, base=BASE)
        assert (name, body["run_id"], body["sequence"]) == (field.name, "r", 3)
        assert field.name == "cancel_requested" or len(body) > 3
