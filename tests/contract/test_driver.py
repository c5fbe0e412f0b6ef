"""What every ComfyUI must be to the driver, and the driver to it.

Runs against the stand-in always, and against the real one at COMFYUI_URL where that is set (with the server's own test
nodes installed).
"""

import asyncio
import io
import json
import os
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from PIL import Image

from services.dispatcher.model.ending import Outcome, ended
from services.standin.server import open_standin
from tests.conformance.recorded_nodes import recorded_nodes
from tests.servers.driver_rig import FLEET, DriverRig, open_rig

Graph = dict[str, Any]
CANCELLED = ended(Outcome.INTERRUPTED, "CANCELLED", "The run was cancelled.")


@pytest.fixture(params=["standin", "comfyui"])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """A backend, freshly made where it is ours."""
    if request.param == "comfyui":
        real = os.environ.get("COMFYUI_URL")
        if not real:
            pytest.skip("COMFYUI_URL names no real ComfyUI")
        yield real
        return
    async with open_standin(folder=tmp_path, extra_nodes=recorded_nodes()) as standin:
        yield standin.url


@pytest_asyncio.fixture
async def rig(url: str) -> AsyncIterator[DriverRig]:
    """The driver, recovered."""
    async with AsyncExitStack() as stack:
        rig = await stack.enter_async_context(open_rig(url))
        async with asyncio.timeout(20):
            await rig.backend.ready()
        yield rig


def saved(color: int | None = None, *, batch: int = 1) -> Graph:
    """EmptyImage in a colour of its own, saved."""
    color = random.randrange(0xFFFFFF) if color is None else color
    return {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": 16, "height": 16, "batch_size": batch, "color": color},
        },
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "deep/x"}},
    }


def sleeping(rig: DriverRig, seconds: float) -> Graph:
    """As `saved`, with a nap before the saving."""
    graph = saved()
    graph["3"] = {"class_type": rig.sleep_class, "inputs": {"value": ["1", 0], "seconds": seconds}}
    graph["2"]["inputs"]["images"] = ["3", 0]
    return graph


def png(color: tuple[int, int, int], size: int = 8) -> bytes:
    """A small picture."""
    buffer = io.BytesIO()
    Image.new("RGB", (size, size), color).save(buffer, "PNG")
    return buffer.getvalue()


def opened(content: bytes) -> Image.Image:
    """The picture in some bytes."""
    return Image.open(io.BytesIO(content))


async def test_run_ends_with_its_outputs_stored(rig: DriverRig) -> None:
    run = rig.run_of(rig.spec(saved(0x102030, batch=3)))
    ending = await rig.execute(run)
    assert ending.outcome is Outcome.SUCCEEDED, ending
    assert [output.place.position for output in run.observer.outputs] == [0, 1, 2]
    assert [output.ordinal for output in run.observer.outputs] == [0, 1, 2]
    assert {output.kind for output in run.observer.outputs} == {"output"}
    assert {output.file.media_type for output in run.observer.outputs} == {"image/png"}
    first = opened(rig.files.outputs[run.observer.outputs[0].file.file_id])
    assert first.getpixel((0, 0)) == (0x10, 0x20, 0x30)
    assert run.observer.has_left.is_set()


async def test_outputs_of_a_run_stand_in_its_own_folder(rig: DriverRig) -> None:
    run = rig.run_of(rig.spec(saved()))
    await rig.execute(run)
    entry = await rig.history(run.spec.prompt_id)
    assert entry["outputs"]["2"]["images"][0]["subfolder"] == f"{run.spec.output_prefix}/deep"


async def test_prompt_carries_whose_it_is(rig: DriverRig) -> None:
    extra = {"extra_pnginfo": {"workflow": {"note": "kept"}}}
    spec = rig.spec(saved(), extra_data_json=json.dumps(extra).encode(), secrets={"api_key_comfy_org": "secret"})
    run = rig.run_of(spec)
    await rig.execute(run)
    extra_data = (await rig.history(spec.prompt_id))["prompt"][3]
    assert extra_data["comfyfleet"] == {"fleet": FLEET, "run_id": run.key.run_id, "attempt": 1}
    assert extra_data["extra_pnginfo"] == extra["extra_pnginfo"]


async def test_64_bit_integers_arrive_exactly(rig: DriverRig) -> None:
    graph = saved()
    graph["2"]["inputs"]["seed"] = 2**64 - 1
    run = rig.run_of(rig.spec(graph))
    await rig.execute(run)
    assert (await rig.history(run.spec.prompt_id))["prompt"][2]["2"]["inputs"]["seed"] == 2**64 - 1


async def test_progress_grows_to_the_whole(rig: DriverRig) -> None:
    run = rig.run_of(rig.spec(sleeping(rig, 0.3)))
    await rig.execute(run)
    fractions = [progress.fraction for progress in run.observer.progress]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert rig.sleep_class in {progress.node_class for progress in run.observer.progress}


async def test_raw_messages_are_told_in_order(rig: DriverRig) -> None:
    run = rig.run_of(rig.spec(saved()))
    await rig.execute(run)
    kinds = [message["type"] for message in run.observer.messages]
    assert kinds[0] == "execution_start"
    assert kinds[-2:] == ["execution_success", "executing"]


async def test_input_is_uploaded_once_and_read(rig: DriverRig) -> None:
    graph: Graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "placeholder.png"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    }
    content = png((random.randrange(256), 2, 3))
    for _ in range(2):
        wanted = rig.files.add(content, node_id="1", path="image", file_name="Photo of me.PNG")
        run = rig.run_of(rig.spec(graph, inputs=(wanted,)))
        ending = await rig.execute(run)
        assert ending.outcome is Outcome.SUCCEEDED, ending
        stored = opened(rig.files.outputs[run.observer.outputs[0].file.file_id])
        assert stored.getpixel((0, 0)) == opened(content).getpixel((0, 0))
        assert run.observer.staged_bytes == [len(content)]
    assert rig.files.downloads == 1


async def test_mask_becomes_the_alpha_of_its_picture(rig: DriverRig) -> None:
    graph: Graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "placeholder.png"}},
        "2": {"class_type": "MaskToImage", "inputs": {"mask": ["1", 1]}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "x"}},
    }
    buffer = io.BytesIO()
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(buffer, "PNG")
    picture = rig.files.add(png((1, random.randrange(256), 3)), node_id="1", path="image", file_name="a.png")
    mask = rig.files.add(buffer.getvalue(), node_id="1", path="image", file_name="m.png", mask=True)
    run = rig.run_of(rig.spec(graph, inputs=(mask, picture)))
    ending = await rig.execute(run)
    assert ending.outcome is Outcome.SUCCEEDED, ending
    stored = opened(rig.files.outputs[run.observer.outputs[0].file.file_id])
    assert stored.convert("L").getpixel((0, 0)) == 255


async def test_texts_values_and_temporary_files_are_outputs(rig: DriverRig) -> None:
    graph = saved()
    graph["3"] = {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}
    graph["4"] = {"class_type": "PreviewAny", "inputs": {"source": "hello"}}
    run = rig.run_of(rig.spec(graph, cache_salt="salt"))
    ending = await rig.execute(run)
    assert ending.outcome is Outcome.SUCCEEDED, ending
    kinds = {output.place.node_id: output.kind for output in run.observer.outputs}
    assert kinds == {"2": "output", "3": "temp", "4": "text"}
    text = next(output for output in run.observer.outputs if output.place.node_id == "4")
    assert rig.files.outputs[text.file.file_id] == b"hello"
    prompt = (await rig.history(run.spec.prompt_id))["prompt"][2]
    assert prompt["3"]["inputs"]["comfyfleet_salt"] == "salt"
    assert "comfyfleet_salt" not in prompt["2"]["inputs"]


async def test_latents_and_sounds_are_outputs(rig: DriverRig) -> None:
    graph: Graph = {
        "1": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "2": {"class_type": "SaveLatent", "inputs": {"samples": ["1", 0], "filename_prefix": "latents/x"}},
    }
    run = rig.run_of(rig.spec(graph))
    ending = await rig.execute(run)
    assert ending.outcome is Outcome.SUCCEEDED, ending
    assert [output.place.key for output in run.observer.outputs] == ["latents"]


async def test_pictures_that_come_as_frames_are_outputs(rig: DriverRig) -> None:
    graph = saved(0x405060, batch=2)
    graph["2"] = {"class_type": "SaveImageWebsocket", "inputs": {"images": ["1", 0]}}
    run = rig.run_of(rig.spec(graph))
    ending = await rig.execute(run)
    assert ending.outcome is Outcome.SUCCEEDED, ending
    assert [output.kind for output in run.observer.outputs] == ["frame", "frame"]
    picture = opened(rig.files.outputs[run.observer.outputs[1].file.file_id])
    assert picture.getpixel((0, 0)) == (0x40, 0x50, 0x60)


async def test_large_output_is_streamed(rig: DriverRig) -> None:
    """Noise does not compress."""
    noise = Image.frombytes("RGB", (512, 512), random.randbytes(512 * 512 * 3))
    buffer = io.BytesIO()
    noise.save(buffer, "PNG")
    wanted = rig.files.add(buffer.getvalue(), node_id="1", path="image", file_name="noise.png")
    graph: Graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "placeholder.png"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    }
    run = rig.run_of(rig.spec(graph, inputs=(wanted,)))
    ending = await rig.execute(run)
    assert ending.outcome is Outcome.SUCCEEDED, ending
    assert rig.files.streamed == 1
    assert opened(rig.files.outputs[run.observer.outputs[0].file.file_id]).size == (512, 512)


async def test_outputs_wait_for_an_absent_file_room(rig: DriverRig) -> None:
    rig.files.away = 3
    run = rig.run_of(rig.spec(saved()))
    assert (await rig.execute(run)).outcome is Outcome.SUCCEEDED
    assert len(run.observer.outputs) == 1


async def test_too_many_output_bytes_fail_the_run(rig: DriverRig) -> None:
    ending = await rig.execute(rig.run_of(rig.spec(saved(), max_output_bytes=10)))
    assert ending.outcome is Outcome.FAILED
    assert ending.failure is not None
    assert ending.failure.code == "OUTPUTS_TOO_LARGE"


async def test_error_of_a_node_is_told_with_its_traceback(rig: DriverRig) -> None:
    graph = saved()
    graph["3"] = {"class_type": "TestSyncError", "inputs": {"value": ["1", 0]}}
    graph["4"] = {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "x"}}
    ending = await rig.execute(rig.run_of(rig.spec(graph)))
    assert ending.outcome is Outcome.FAILED
    assert ending.failure is not None
    assert (ending.failure.node_id, ending.failure.node_class) == ("3", "TestSyncError")
    assert ending.failure.exception_type == "RuntimeError"
    assert ending.failure.message
    assert ending.failure.traceback
    assert not ending.failure.retryable


async def test_blocked_branch_does_not_end_the_run(rig: DriverRig) -> None:
    graph = saved()
    blocker = {"input": ["1", 0], "block": True, "verbose": True}
    graph["3"] = {"class_type": "TestExecutionBlocker", "inputs": blocker}
    graph["4"] = {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "blocked"}}
    run = rig.run_of(rig.spec(graph))
    ending = await rig.execute(run)
    assert ending.outcome is Outcome.SUCCEEDED, ending
    assert {output.place.node_id for output in run.observer.outputs} == {"2"}


async def test_cached_outputs_are_stored_again(rig: DriverRig) -> None:
    graph = saved()
    del graph["2"]
    graph["3"] = {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}
    first, second = rig.run_of(rig.spec(graph)), rig.run_of(rig.spec(graph))
    await rig.execute(first)
    ending = await rig.execute(second)
    assert ending.outcome is Outcome.SUCCEEDED
    assert [output.cached for output in second.observer.outputs] == [True]
    assert set(ending.cached_nodes) == {"1", "3"}


async def test_unknown_class_is_rejected_here(rig: DriverRig) -> None:
    graph = saved()
    graph["3"] = {"class_type": "NoSuchNode", "inputs": {}}
    ending = await rig.execute(rig.run_of(rig.spec(graph)))
    assert ending.outcome is Outcome.REJECTED_HERE
    assert ending.missing_capabilities == ("NoSuchNode",)


async def test_value_that_is_not_listed_is_rejected_here(rig: DriverRig) -> None:
    graph = saved()
    scale = {"image": ["1", 0], "upscale_method": "magic", "width": 8, "height": 8, "crop": "disabled"}
    graph["3"] = {"class_type": "ImageScale", "inputs": scale}
    graph["2"]["inputs"]["images"] = ["3", 0]
    ending = await rig.execute(rig.run_of(rig.spec(graph)))
    assert ending.outcome is Outcome.REJECTED_HERE
    assert ending.missing_capabilities == ("magic",)


async def test_value_out_of_bounds_is_invalid(rig: DriverRig) -> None:
    graph = saved()
    graph["1"]["inputs"]["width"] = 0
    ending = await rig.execute(rig.run_of(rig.spec(graph)))
    assert ending.outcome is Outcome.INVALID
    assert ending.failure is not None
    assert ending.failure.node_id == "1"


async def test_acceptance_in_part_is_a_refusal(rig: DriverRig) -> None:
    graph = saved()
    graph["3"] = {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}}
    run = rig.run_of(rig.spec(graph))
    ending = await rig.execute(run)
    assert ending.outcome is Outcome.INVALID
    await rig.until(lambda: not rig.backend.state().reaping)
    assert run.observer.outputs == ()


async def test_graph_without_outputs_is_invalid(rig: DriverRig) -> None:
    graph = saved()
    del graph["2"]
    assert (await rig.execute(rig.run_of(rig.spec(graph)))).outcome is Outcome.INVALID


async def test_stopped_run_ends_as_it_was_stopped(rig: DriverRig) -> None:
    run = rig.run_of(rig.spec(sleeping(rig, 30)))
    ending = await rig.execute(run, stop_with=CANCELLED)
    assert ending.outcome is Outcome.INTERRUPTED
    assert ending.failure is not None
    assert ending.failure.code == "CANCELLED"
    await rig.until(lambda: not rig.backend.state().reaping)
    assert run.spec.prompt_id not in json.dumps(await rig.queue())


async def test_stop_of_a_waiting_prompt_leaves_the_running_one_alone(rig: DriverRig) -> None:
    ahead, behind = rig.run_of(rig.spec(sleeping(rig, 1.5))), rig.run_of(rig.spec(sleeping(rig, 30)))
    first = asyncio.create_task(rig.execute(ahead))
    async with asyncio.timeout(10):
        await ahead.observer.began.wait()

    async def stop_when_submitted() -> None:
        await rig.until_queued(behind)
        assert behind.execution is not None
        behind.execution.stop(CANCELLED)

    stopping = asyncio.create_task(stop_when_submitted())
    ending = await rig.execute(behind)
    await stopping
    assert ending.failure is not None
    assert ending.failure.code == "CANCELLED"
    assert (await first).outcome is Outcome.SUCCEEDED


async def test_recall_takes_a_waiting_prompt_back(rig: DriverRig) -> None:
    ahead, behind = rig.run_of(rig.spec(sleeping(rig, 1.5))), rig.run_of(rig.spec(saved()))
    first = asyncio.create_task(rig.execute(ahead))
    async with asyncio.timeout(10):
        await ahead.observer.began.wait()
    second = asyncio.create_task(rig.execute(behind))
    await rig.until_queued(behind)
    assert ahead.execution is not None
    assert behind.execution is not None
    recalled = ended(Outcome.RECALLED, "RECALLED", "Handed back.")
    ahead.execution.recall(recalled)
    behind.execution.recall(recalled)
    assert (await second).outcome is Outcome.RECALLED
    assert (await first).outcome is Outcome.SUCCEEDED


async def test_late_success_wins_over_a_stop(rig: DriverRig) -> None:
    run = rig.run_of(rig.spec(saved()))

    async def stop_at_the_end() -> None:
        await run.observer.has_left.wait()
        assert run.execution is not None
        run.execution.stop(CANCELLED)

    stopping = asyncio.create_task(stop_at_the_end())
    ending = await rig.execute(run)
    await stopping
    assert ending.outcome is Outcome.SUCCEEDED
    assert len(run.observer.outputs) == 1


async def test_interrupt_by_somebody_else_is_told_apart(rig: DriverRig) -> None:
    run = rig.run_of(rig.spec(sleeping(rig, 30)))
    execution = asyncio.create_task(rig.execute(run))
    async with asyncio.timeout(10):
        await run.observer.began.wait()
    await rig.post("/interrupt", {})
    ending = await execution
    assert ending.outcome is Outcome.INTERRUPTED
    assert ending.failure is not None
    assert ending.failure.code == "INTERRUPTED_BY_OTHERS"
    assert ending.failure.retryable


async def test_running_prompt_is_adopted_with_its_own_client_id(rig: DriverRig) -> None:
    """Another session of the driver finds the prompt, follows it to its end and gets its frames."""
    run = rig.run_of(rig.spec(sleeping(rig, 1.5)))
    first = asyncio.create_task(rig.execute(run))
    async with asyncio.timeout(10):
        await run.observer.began.wait()
    async with open_rig(rig.url) as other:
        async with asyncio.timeout(10):
            await other.backend.ready()
        adopted = other.run_of(run.spec)
        adopted.key = run.key
        ending = await other.execute(adopted, find=True)
    assert ending.outcome is Outcome.SUCCEEDED
    assert len(adopted.observer.outputs) == 1
    assert "execution_success" in {message["type"] for message in adopted.observer.messages}
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)


async def test_ended_prompt_is_adopted_from_the_history(rig: DriverRig) -> None:
    run = rig.run_of(rig.spec(saved()))
    await rig.execute(run)
    again = rig.run_of(run.spec)
    ending = await rig.execute(again, find=True)
    assert ending.outcome is Outcome.SUCCEEDED
    assert len(again.observer.outputs) == 1
    kinds = {message["type"] for message in again.observer.messages}
    assert "execution_start" not in kinds


async def test_prompt_of_this_fleet_that_nobody_wants_is_an_orphan(rig: DriverRig) -> None:
    run = rig.run_of(rig.spec(sleeping(rig, 30)))
    first = asyncio.create_task(rig.execute(run))
    async with asyncio.timeout(10):
        await run.observer.began.wait()
    async with open_rig(rig.url) as other:
        await other.until(lambda: [orphan.key for orphan in other.backend.orphans()] == [run.key])
        other.backend.remove(run.spec.prompt_id)
        await other.until(lambda: not other.backend.orphans() and not other.backend.state().reaping)
    assert (await first).outcome is Outcome.INTERRUPTED


async def test_strangers_prompts_are_counted_and_left_alone(rig: DriverRig) -> None:
    await rig.post("/prompt", {"prompt": sleeping(rig, 1.0)})
    rig.backend.poke()
    await rig.until(lambda: rig.backend.state().foreign_prompts == 1)
    assert rig.backend.orphans() == ()
    await rig.until(lambda: rig.backend.state().foreign_prompts == 0)


async def test_backend_says_what_it_is(rig: DriverRig) -> None:
    state = rig.backend.state()
    assert state.recovered
    assert state.version
    assert [device.type for device in state.devices] == ["cpu"]
    catalogue = rig.backend.catalogue(state.capabilities_hash)
    assert catalogue is not None
    assert "SaveImage" in json.loads(catalogue)
    assert state.observed_age.total_seconds() < 10
