"""Calling a node once for each value that its inputs received, and joining what the calls gave."""

from collections.abc import Mapping
from typing import Any

from services.standin.cache import Outputs
from services.standin.model.node import Blocker, NodeDefinition, NodeResult

Received = dict[str, list[Any]]
"""What each input received: one value for each call of the node; a missing value is None."""


def slices(definition: NodeDefinition, received: Received) -> list[tuple[int, dict[str, Any]]]:
    """The inputs of each call: a shorter list repeats its last value."""
    if definition.input_is_list:
        return [(0, dict(received))]
    count = max((len(values) for values in received.values()), default=1)
    return [
        (index, {name: values[index if index < len(values) else -1] for name, values in received.items()})
        for index in range(count)
    ]


def blocker_among(inputs: Mapping[str, Any], *, lists: bool) -> Blocker | None:
    """The first blocker that a call would receive."""
    for value in inputs.values():
        for one in value if lists else [value]:
            if isinstance(one, Blocker):
                return one
    return None


def as_result(returned: Any) -> NodeResult:
    """What a node's function returned, in one form."""
    return returned if isinstance(returned, NodeResult) else NodeResult(outputs=returned)


def merged_outputs(definition: NodeDefinition, outcomes: list[NodeResult]) -> Outputs:
    """One list for each socket, with the value of every call in it."""
    rows: list[tuple[Any, ...]] = []
    for outcome in outcomes:
        if isinstance(outcome.outputs, Blocker):
            rows.append((outcome.outputs,) * len(definition.outputs))
        elif outcome.outputs is not None:
            rows.append(outcome.outputs)
    if not rows:
        return []
    as_lists = definition.output_lists or (False,) * len(definition.outputs)
    merged: Outputs = []
    for socket, as_list in zip(range(len(rows[0])), as_lists, strict=False):
        values: list[Any] = []
        for row in rows:
            value = row[socket]
            values.extend(value if as_list and not isinstance(value, Blocker) else [value])
        merged.append(values)
    return merged
