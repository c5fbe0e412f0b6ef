# ruff: noqa: ARG001 - a node's function takes every input of its class, by the name that clients use
"""Nodes of our own for demos and tests: sleeping, blocking, choosing lazily, failing."""

import asyncio
import time
from typing import Any

from PIL import Image

from services.standin.call import NodeCall
from services.standin.frame import Preview
from services.standin.model.failure import OutOfMemory
from services.standin.model.node import Blocker, NodeDefinition
from services.standin.nodes.spec import choice, integer, number, text

_ANY = ["*", {}]
_FAILURES: dict[str, type[Exception]] = {
    "runtime": RuntimeError,
    "value": ValueError,
    "memory": MemoryError,
    "out_of_memory": OutOfMemory,
}


def sleep(call: NodeCall, *, value: Any, seconds: float, steps: int = 10, preview: bool = False) -> tuple[Any]:
    """Sleeps in steps, with progress and, if asked, a preview at each; an interrupt takes effect at the next step."""
    for step in range(1, steps + 1):
        call.block(seconds / steps)
        grey = 255 * step // steps
        shown = Preview(picture=Image.new("RGB", (64, 64), (grey, grey, grey))) if preview else None
        call.report(step, steps, shown)
    return (value,)


async def sleep_beside(call: NodeCall, *, value: Any, seconds: float) -> tuple[Any]:
    """Sleeps side by side with others of its kind; progress in seconds."""
    start = time.monotonic()
    spent = 0.0
    while spent < seconds:
        spent = time.monotonic() - start
        call.report(spent, seconds)
        await asyncio.sleep(0.01)
    return (value,)


def block(call: NodeCall, *, value: Any, seconds: float) -> tuple[Any]:
    """Works without a word: no progress, and no interrupt cuts it short."""
    call.block(seconds)
    return (value,)


def switch(call: NodeCall, *, on: bool, on_true: Any = None, on_false: Any = None) -> tuple[Any]:
    """Only the side that is chosen is evaluated."""
    return (on_true if on else on_false,)


def wanted_side(*, on: bool, **_: Any) -> list[str]:
    """The lazy input of a switch that is needed."""
    return ["on_true" if on else "on_false"]


def stop_branch(call: NodeCall, *, value: Any, stop: bool, message: str = "") -> Blocker | tuple[Any]:
    """Keeps what follows from running, with a message or silently; the prompt goes on."""
    return Blocker(message=message or None) if stop else (value,)


def fail(call: NodeCall, *, value: Any, kind: str = "runtime", message: str = "") -> tuple[Any]:
    """Raises."""
    raise _FAILURES[kind](message)


def _definition(class_type: str, run: Any, about: str, inputs: dict[str, Any], **more: Any) -> NodeDefinition:
    return NodeDefinition(
        class_type=class_type,
        run=run,
        required={"value": _ANY, **inputs},
        outputs=("*",),
        output_names=("value",),
        description=about,
        category="standin",
        python_module="standin",
        **more,
    )


def nodes() -> list[NodeDefinition]:
    """The definitions of this family."""
    seconds = number(1.0, 0.0, 86400.0, 0.01)
    return [
        _definition(
            "StandinSleep",
            sleep,
            "Sleeps with progress, then gives its value.",
            {"seconds": seconds, "steps": integer(10, 1, 10000), "preview": ["BOOLEAN", {"default": False}]},
        ),
        _definition("StandinSleepBeside", sleep_beside, "Sleeps beside others.", {"seconds": seconds}),
        _definition("StandinBlock", block, "Sleeps without progress, deaf to interrupts.", {"seconds": seconds}),
        _definition(
            "StandinStopBranch",
            stop_branch,
            "Keeps what follows from running.",
            {"stop": ["BOOLEAN", {"default": True}], "message": text("")},
        ),
        _definition(
            "StandinFail",
            fail,
            "Raises.",
            {"kind": choice(*_FAILURES), "message": text("A failure on purpose.")},
        ),
        NodeDefinition(
            class_type="StandinSwitch",
            run=switch,
            required={"on": ["BOOLEAN", {"default": True}]},
            optional={"on_true": ["*", {"lazy": True}], "on_false": ["*", {"lazy": True}]},
            outputs=("*",),
            output_names=("value",),
            check_lazy=wanted_side,
            description="Evaluates only the side that is chosen.",
            category="standin",
            python_module="standin",
        ),
    ]
