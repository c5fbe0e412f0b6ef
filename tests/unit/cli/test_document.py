"""Messages as JSON documents: exact numbers, the contract's names, words for enum values."""

import json

import pytest
from comfyfleet.run.v1 import run_event_pb2, run_pb2

from services.cli.document import document_of, enum_word


def test_run_becomes_a_document_with_exact_numbers() -> None:
    run = run_pb2.Run(
        id="r",
        state=run_pb2.RUN_STATE_TIMED_OUT,
        sequence=7,
        labels={"a": "b"},
        graph_json=b'{"seed":18446744073709551615}',
    )
    run.create_time.FromJsonString("2026-11-21T12:00:00.5Z")
    run.timeout.FromJsonString("90.5s")
    run.outputs.add(ordinal=1, name="a.png", size_bytes=1 << 40)

    assert document_of(run) == {
        "id": "r",
        "state": "timed_out",
        "sequence": 7,
        "labels": {"a": "b"},
        "create_time": "2026-11-21T12:00:00.500Z",
        "timeout": 90.5,
        "outputs": [{"ordinal": 1, "name": "a.png", "size_bytes": 1 << 40}],
        "graph": {"seed": 18446744073709551615},
    }


def test_pictures_become_base64_and_the_document_can_be_written() -> None:
    event = run_event_pb2.RunEvent(
        run_id="r", preview=run_event_pb2.RunPreview(image=b"\x00\xff", media_type="image/png")
    )
    assert json.loads(json.dumps(document_of(event)))["preview"]["image"] == "AP8="


@pytest.mark.parametrize(
    ("value", "enum", "word"),
    [
        ("RUN_STATE_SUCCEEDED", "RunState", "succeeded"),
        ("RUNNER_HEALTH_OFFLINE", "RunnerHealth", "offline"),
        ("TAG_MATCH_ALL_OR_UNTAGGED", "TagMatch", "all_or_untagged"),
    ],
)
def test_enum_values_become_words(value: str, enum: str, word: str) -> None:
    assert enum_word(value, enum) == word
