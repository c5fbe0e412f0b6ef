"""What error frames and the history say about a node that did not finish."""

import traceback
from collections.abc import Mapping
from typing import Any

from services.standin.model.failure import OutOfMemory, wire_type
from services.standin.model.value import JsonObject


def failure_report(
    error: BaseException, *, received: Mapping[str, list[Any]] | None, cycle: bool = False
) -> JsonObject:
    """The part of an `execution_error` that describes the failure itself.

    A cycle is no failure of a node: its message has no line end and it has no inputs.
    """
    if cycle:
        return {
            "exception_message": str(error),
            "exception_type": "graph.DependencyCycleError",
            "traceback": [],
            "current_inputs": [],
        }
    tip = OutOfMemory.tip if isinstance(error, OutOfMemory) else ""
    return {
        "exception_message": f"{error}\n{tip}",
        "exception_type": wire_type(error),
        "traceback": traceback.format_tb(error.__traceback__),
        "current_inputs": {name: [_shown(one) for one in values] for name, values in (received or {}).items()},
    }


def _shown(value: Any) -> Any:
    return value if value is None or isinstance(value, int | float | bool | str) else str(value)
