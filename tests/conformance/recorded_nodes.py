"""Equivalents of the test nodes that the recordings ran: the same sockets and the same effect on the wire."""

import asyncio
import time
from typing import Any

from PIL import Image

from services.standin.call import NodeCall
from services.standin.frame import Preview
from services.standin.model.failure import OutOfMemory
from services.standin.model.node import Blocker, NodeDefinition, NodeResult
from services.standin.model.value import Masks, Pictures

CLOCK_SLOWNESS = 4.0
_FAILURES: dict[str, type[BaseException]] = {
    "runtime": RuntimeError,
    "value": ValueError,
    "memory": MemoryError,
    "import": ImportError,
    "oom": OutOfMemory,
}


def lab_progress(
    call: NodeCall,
    *,
    steps: int,
    dt: float,
    width: int,
    height: int,
    color: int,
    preview: bool,
    preview_format: str = "JPEG",
    text: str = "",
) -> tuple[Pictures]:
    """So many steps of `dt` seconds with progress and, if asked, a preview and a line of text each."""
    picture = Image.new("RGB", (width, height), (color >> 16 & 255, color >> 8 & 255, color & 255))
    for step in range(1, steps + 1):
        call.block(dt)
        shown = Preview(picture=picture, format=preview_format, longest_side=512)
        call.report(step, steps, shown if preview else None)
        if text:
            call.say(f"{text} {step}/{steps}")
    return ((picture,),)


def lab_block(call: NodeCall, *, image: Pictures, seconds: float) -> tuple[Pictures]:
    """A sleep without a word."""
    call.block(seconds)
    return (image,)


def lab_error(call: NodeCall, *, image: Pictures, kind: str, message: str) -> tuple[Pictures]:
    """The chosen failure."""
    raise _FAILURES[kind](message)


def lab_ui(call: NodeCall, *, text: str) -> NodeResult:
    """Several keys of ui data."""
    return NodeResult(ui={"text": [text, text.upper()], "numbers": [1, 2.5], "flag": [True]}, outputs=(text,))


async def run_sleep(call: NodeCall, *, value: Any, seconds: float) -> tuple[Any]:
    """Progress by the clock; a slow one, so that a busy machine does not change which of several sleeps ends first."""
    start = time.monotonic()
    spent = 0.0
    while spent < seconds:
        spent = (time.monotonic() - start) / CLOCK_SLOWNESS
        call.report(spent, seconds)
        await asyncio.sleep(0.01)
    return (value,)


def run_parallel_sleep(call: NodeCall, **inputs: Any) -> NodeResult:
    """Three sleeps side by side and the mean of their pictures, in this node's place."""
    graph = call.subgraph()
    sleeps = [graph.add("TestSleep", value=inputs[f"image{n}"], seconds=inputs[f"sleep{n}"]) for n in (1, 2, 3)]
    mean = graph.add("TestVariadicAverage", **{f"input{n}": [sleep, 0] for n, sleep in enumerate(sleeps, start=1)})
    return NodeResult(outputs=([mean, 0],), graph=graph.nodes)


def run_average(call: NodeCall, *, input1: Pictures, input2: Pictures, input3: Pictures) -> tuple[Pictures]:
    """The first of the pictures will do."""
    return (input1,)


def run_error(call: NodeCall, *, value: Any) -> tuple[Any]:
    """A failure."""
    raise RuntimeError("A failure on purpose")


async def run_async_error(call: NodeCall, *, value: Any, error_after: float) -> tuple[Any]:
    """A failure after a while."""
    await asyncio.sleep(error_after)
    raise RuntimeError("A failure on purpose")


def run_blocker(call: NodeCall, *, input: Any, block: bool, verbose: bool) -> Blocker | tuple[Any]:  # noqa: A002
    """A blocked branch, with a message or silently."""
    return Blocker(message="On purpose" if verbose else None) if block else (input,)


def run_mix(call: NodeCall, *, image1: Pictures, image2: Pictures, mask: Masks) -> tuple[Pictures]:
    """The first picture will do."""
    return (image1,)


def wanted_images(*, mask: Masks, image1: Any = None, image2: Any = None) -> list[str]:
    """What a half-grey mask needs: both."""
    return [name for name, value in (("image1", image1), ("image2", image2)) if value is None]


def run_cycle(call: NodeCall, *, input1: Pictures, input2: Pictures) -> NodeResult:
    """Two mixes that need one another."""
    graph = call.subgraph()
    mask = graph.add("StubMask", value=0.5, height=512, width=512, batch_size=1)
    first = graph.add("TestLazyMixImages", image1=input1, mask=[mask, 0])
    second = graph.add("TestLazyMixImages", image1=[first, 0], image2=input2, mask=[mask, 0])
    graph.nodes[first]["inputs"]["image2"] = [second, 0]
    return NodeResult(outputs=([second, 0],), graph=graph.nodes)


def run_passing_output(call: NodeCall, *, image: Pictures, value: float) -> tuple[Pictures]:
    """An output node without ui data."""
    return (image,)


def stub_mask(call: NodeCall, *, value: float, height: int, width: int, batch_size: int) -> tuple[Masks]:
    """One grey."""
    return ((Image.new("L", (width, height), round(value * 255)),) * batch_size,)


def no_sevens(_folders: Any, *, input1: Any, input2: Any) -> bool | str:
    """The recorded node refuses sevens."""
    return "No sevens." if 7.0 in (input1, input2) else True


def recorded_nodes() -> list[NodeDefinition]:
    """Every test node that occurs in the recordings."""
    image: list[Any] = ["IMAGE"]
    anything: list[Any] = ["*", {}]
    sleep: list[Any] = ["FLOAT", {"default": 0.5, "min": 0.0, "max": 10.0, "step": 0.01}]
    unique = {"unique_id": "UNIQUE_ID"}
    part: list[Any] = ["FLOAT", {"min": 0.0, "max": 1.0}]
    return [
        NodeDefinition(
            class_type="LabProgress",
            run=lab_progress,
            required={
                "steps": ["INT", {"default": 8, "min": 1, "max": 100000}],
                "dt": ["FLOAT", {"default": 0.1, "min": 0.0, "max": 60.0, "step": 0.001}],
                "width": ["INT", {"default": 64, "min": 8, "max": 4096}],
                "height": ["INT", {"default": 64, "min": 8, "max": 4096}],
                "color": ["INT", {"default": 0, "min": 0, "max": 16777215}],
                "preview": ["BOOLEAN", {"default": True}],
            },
            optional={"preview_format": [["JPEG", "PNG"]], "text": ["STRING", {"default": ""}]},
            hidden=unique,
            outputs=("IMAGE",),
        ),
        NodeDefinition(
            class_type="LabBlock",
            run=lab_block,
            required={"image": image, "seconds": ["FLOAT", {"default": 1.0, "min": 0.0, "max": 600.0, "step": 0.01}]},
            outputs=("IMAGE",),
        ),
        NodeDefinition(
            class_type="LabError",
            run=lab_error,
            required={"image": image, "kind": [list(_FAILURES)], "message": ["STRING", {"default": "lab error"}]},
            outputs=("IMAGE",),
        ),
        NodeDefinition(
            class_type="LabSeparateUi",
            run=lab_ui,
            required={"text": ["STRING", {"default": "a"}]},
            outputs=("STRING",),
            output_node=True,
        ),
        NodeDefinition(
            class_type="TestSleep",
            run=run_sleep,
            required={"value": anything, "seconds": ["FLOAT", {"default": 1.0, "min": 0.0, "max": 9999.0}]},
            hidden=unique,
            outputs=("*",),
        ),
        NodeDefinition(
            class_type="TestParallelSleep",
            run=run_parallel_sleep,
            required={
                **{f"image{n}": image for n in (1, 2, 3)},
                **{f"sleep{n}": sleep for n in (1, 2, 3)},
            },
            hidden=unique,
            outputs=("IMAGE",),
            output_node=True,
        ),
        NodeDefinition(
            class_type="TestVariadicAverage",
            run=run_average,
            required={"input1": image},
            optional={"input2": image, "input3": image},
            outputs=("IMAGE",),
        ),
        NodeDefinition(class_type="TestSyncError", run=run_error, required={"value": anything}, outputs=("*",)),
        NodeDefinition(
            class_type="TestAsyncError",
            run=run_async_error,
            required={"value": anything, "error_after": sleep},
            outputs=("*",),
        ),
        NodeDefinition(
            class_type="TestExecutionBlocker",
            run=run_blocker,
            required={"input": ["*"], "block": ["BOOLEAN"], "verbose": ["BOOLEAN", {"default": False}]},
            outputs=("*",),
        ),
        NodeDefinition(
            class_type="TestLazyMixImages",
            run=run_mix,
            required={"image1": ["IMAGE", {"lazy": True}], "image2": ["IMAGE", {"lazy": True}], "mask": ["MASK"]},
            check_lazy=wanted_images,
            outputs=("IMAGE",),
        ),
        NodeDefinition(
            class_type="TestDynamicDependencyCycle",
            run=run_cycle,
            required={"input1": image, "input2": image},
            outputs=("IMAGE",),
        ),
        NodeDefinition(
            class_type="TestCustomValidation5",
            run=run_average,
            required={"input1": part, "input2": part},
            validate=no_sevens,
            validated_inputs=("input1", "input2"),
            outputs=("IMAGE",),
        ),
        NodeDefinition(
            class_type="TestOutputNodeWithSocketOutput",
            run=run_passing_output,
            required={"image": image, "value": ["FLOAT", {"default": 1.0, "min": 0.0, "max": 10.0}]},
            outputs=("IMAGE",),
            output_node=True,
        ),
        NodeDefinition(
            class_type="StubMask",
            run=stub_mask,
            required={
                "value": ["FLOAT", {"default": 0.5, "min": 0.0, "max": 1.0, "step": 0.01}],
                "height": ["INT", {"default": 512, "min": 1}],
                "width": ["INT", {"default": 512, "min": 1}],
                "batch_size": ["INT", {"default": 1, "min": 1}],
            },
            outputs=("MASK",),
        ),
    ]
