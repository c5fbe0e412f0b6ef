"""What the stand-in's nodes do, beyond what was recorded."""

import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from services.standin.knobs import Knobs
from services.standin.server import open_standin
from tests.conformance.client import Client, connect

Json = Any
SEED = 2**64 - 1


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    """A client of a fast stand-in."""
    async with open_standin(folder=tmp_path, knobs=Knobs(step_seconds=0.0)) as server, connect(server) as opened:
        yield opened


def node(class_type: str, **inputs: Json) -> Json:
    """A node; links are tuples."""
    return {
        "class_type": class_type,
        "inputs": {name: list(value) if isinstance(value, tuple) else value for name, value in inputs.items()},
    }


def default_graph(seed: int, text: str) -> Json:
    """The graph that every text-to-image tutorial begins with."""
    return {
        "4": node("CheckpointLoaderSimple", ckpt_name="v1-5-pruned-emaonly.safetensors"),
        "5": node("EmptyLatentImage", width=96, height=64, batch_size=2),
        "6": node("CLIPTextEncode", text=text, clip=("4", 1)),
        "7": node("CLIPTextEncode", text="watermark", clip=("4", 1)),
        "3": node(
            "KSampler",
            seed=seed,
            steps=3,
            cfg=8,
            sampler_name="euler",
            scheduler="normal",
            denoise=1,
            model=("4", 0),
            positive=("6", 0),
            negative=("7", 0),
            latent_image=("5", 0),
        ),
        "8": node("VAEDecode", samples=("3", 0), vae=("4", 2)),
        "9": node("SaveImage", filename_prefix="default", images=("8", 0)),
    }


async def pictures(client: Client, entry: Json, node_id: str) -> list[Image.Image]:
    """The pictures that a node saved."""
    assert entry["status"]["status_str"] == "success", entry["status"]["messages"][-1]
    files = entry["outputs"][node_id]["images"]
    return [Image.open(io.BytesIO(await client.view(file))) for file in files]


async def test_default_graph_gives_marked_pictures_with_progress_and_previews(client: Client) -> None:
    """As many as the batch has, different from one another, the same at every run."""
    first = await pictures(client, await client.run(default_graph(SEED, "a red fox")), "9")
    assert [one.size for one in first] == [(96, 64), (96, 64)]
    assert first[0].tobytes() != first[1].tobytes()
    steps = [data for data in client.seen("progress") if data["node"] == "3"]
    assert [(data["value"], data["max"]) for data in steps] == [(1, 3), (2, 3), (3, 3)]
    assert sum("binary" in frame for frame in client.frames) == 3
    assert await client.send("/free", {"free_memory": True}) == 200
    again = await pictures(client, await client.run(default_graph(SEED, "a red fox")), "9")
    assert again[0].tobytes() == first[0].tobytes()
    for other in (default_graph(SEED - 1, "a red fox"), default_graph(SEED, "a blue fox")):
        assert (await pictures(client, await client.run(other), "9"))[0].tobytes() != first[0].tobytes()


async def test_seed_of_64_bits_reaches_history_and_file_exactly(client: Client) -> None:
    """Bit for bit."""
    entry = await client.run(default_graph(SEED, "x"), extra_data={"extra_pnginfo": {"workflow": {"seed": SEED}}})
    assert entry["prompt"][2]["3"]["inputs"]["seed"] == SEED
    texts = (await pictures(client, entry, "9"))[0].info
    assert json.loads(texts["prompt"])["3"]["inputs"]["seed"] == SEED
    assert json.loads(texts["workflow"]) == {"seed": SEED}


async def test_graph_of_many_loaders_and_custom_sampling_runs(client: Client) -> None:
    """Whatever stands around the sampler."""
    graph = {
        "1": node("UNETLoader", unet_name="flux1-dev.safetensors", weight_dtype="default"),
        "2": node("DualCLIPLoader", clip_name1="t5xxl.safetensors", clip_name2="clip_l.safetensors", type="flux"),
        "3": node("VAELoader", vae_name="ae.safetensors"),
        "4": node("LoraLoaderModelOnly", model=("1", 0), lora_name="any.safetensors", strength_model=0.5),
        "5": node("ModelSamplingFlux", model=("4", 0), max_shift=1.15, base_shift=0.5, width=1024, height=1024),
        "6": node("CLIPTextEncode", text="a fox", clip=("2", 0)),
        "7": node("FluxGuidance", conditioning=("6", 0), guidance=3.5),
        "8": node("BasicGuider", model=("5", 0), conditioning=("7", 0)),
        "9": node("RandomNoise", noise_seed=SEED),
        "10": node("KSamplerSelect", sampler_name="euler"),
        "11": node("BasicScheduler", model=("5", 0), scheduler="simple", steps=4, denoise=1),
        "12": node("EmptySD3LatentImage", width=64, height=64, batch_size=1),
        "13": node(
            "SamplerCustomAdvanced",
            noise=("9", 0),
            guider=("8", 0),
            sampler=("10", 0),
            sigmas=("11", 0),
            latent_image=("12", 0),
        ),
        "14": node("VAEDecode", samples=("13", 0), vae=("3", 0)),
        "15": node("UpscaleModelLoader", model_name="4x.pth"),
        "16": node("ImageUpscaleWithModel", upscale_model=("15", 0), image=("14", 0)),
        "17": node("PreviewImage", images=("16", 0)),
    }
    (picture,) = await pictures(client, await client.run(graph), "17")
    assert picture.size == (256, 256)


@pytest.mark.parametrize(
    ("made", "size"),
    [
        (node("ImageScale", image=("1", 0), upscale_method="lanczos", width=20, height=0, crop="disabled"), (20, 10)),
        (node("ImageScale", image=("1", 0), upscale_method="area", width=9, height=9, crop="center"), (9, 9)),
        (node("ImageScaleBy", image=("1", 0), upscale_method="bilinear", scale_by=0.5), (20, 10)),
        (node("ImageCrop", image=("1", 0), width=16, height=999, x=8, y=4), (16, 16)),
        (node("ImagePadForOutpaint", image=("1", 0), left=8, top=0, right=8, bottom=16, feathering=4), (56, 36)),
        (node("ImageBlend", image1=("1", 0), image2=("2", 0), blend_factor=0.5, blend_mode="screen"), (40, 20)),
        (node("ImageBatch", image1=("1", 0), image2=("2", 0)), (40, 20)),
        (node("ImageBlur", image=("1", 0), blur_radius=3, sigma=2.0), (40, 20)),
        (node("ImageSharpen", image=("1", 0), sharpen_radius=3, sigma=2.0, alpha=1.0), (40, 20)),
        (node("ImageInvert", image=("1", 0)), (40, 20)),
        (node("ImageFlip", image=("1", 0), flip_method="x-axis: vertically"), (40, 20)),
        (node("ImageRotate", image=("1", 0), rotation="90 degrees"), (20, 40)),
        (node("ImageScaleToTotalPixels", image=("1", 0), upscale_method="area", megapixels=0.01), (145, 72)),
    ],
)
async def test_picture_nodes_really_work(client: Client, made: Json, size: tuple[int, int]) -> None:
    """Sizes come out as asked."""
    graph = {
        "1": node("EmptyImage", width=40, height=20, batch_size=1, color=0x336699),
        "2": node("EmptyImage", width=8, height=8, batch_size=1, color=0xFFFFFF),
        "3": made,
        "4": node("PreviewImage", images=("3", 0)),
    }
    assert (await pictures(client, await client.run(graph), "4"))[0].size == size


async def test_mask_of_a_loaded_picture_is_its_transparency(client: Client, tmp_path: Path) -> None:
    """Fully transparent is fully masked."""
    half = Image.new("RGBA", (8, 4), (255, 0, 0, 255))
    half.paste((0, 0, 0, 0), (0, 0, 4, 4))
    half.save(tmp_path / "input" / "half.png")
    graph = {
        "1": node("LoadImage", image="half.png"),
        "2": node("MaskToImage", mask=("1", 1)),
        "3": node("PreviewImage", images=("2", 0)),
    }
    (mask,) = await pictures(client, await client.run(graph), "3")
    assert mask.getpixel((0, 0)) == (255, 255, 255)
    assert mask.getpixel((7, 0)) == (0, 0, 0)


async def test_texts_and_numbers_flow_to_previews(client: Client) -> None:
    """As text, in the history."""
    graph = {
        "1": node("PrimitiveString", value="a"),
        "2": node("StringConcatenate", string_a=("1", 0), string_b="b", delimiter="-"),
        "3": node("PreviewAny", source=("2", 0)),
        "4": node("PrimitiveInt", value=2**62),
        "5": node("PreviewAny", source=("4", 0)),
    }
    outputs = (await client.run(graph))["outputs"]
    assert outputs["3"] == {"text": ["a-b"]}
    assert outputs["5"] == {"text": [str(2**62)]}


async def test_saved_latent_can_be_loaded(client: Client, tmp_path: Path) -> None:
    """With its recipe: the picture stays the same."""
    graph = default_graph(5, "kept")
    graph["10"] = node("SaveLatent", samples=("3", 0), filename_prefix="kept")
    entry = await client.run(graph)
    first = await pictures(client, entry, "9")
    file = entry["outputs"]["10"]["latents"][0]
    (tmp_path / "output" / file["filename"]).rename(tmp_path / "input" / "kept.latent")
    loaded = {
        "1": node("LoadLatent", latent="kept.latent"),
        "2": node("VAELoader", vae_name="any"),
        "3": node("VAEDecode", samples=("1", 0), vae=("2", 0)),
        "4": node("PreviewImage", images=("3", 0)),
    }
    assert (await pictures(client, await client.run(loaded), "4"))[0].tobytes() == first[0].tobytes()


async def test_interrupt_stops_a_sleep_at_its_next_step(client: Client) -> None:
    """And the queue goes on."""
    long = {
        "1": node("StandinSleep", value="x", seconds=60.0, steps=6000, preview=False),
        "2": node("PreviewAny", source=("1", 0)),
    }
    prompt_id = await client.post(long)
    await client.until("progress", node="1")
    assert await client.send("/interrupt", {"prompt_id": prompt_id}) == 200
    await client.until("execution_interrupted", prompt_id=prompt_id, node_id="1")
    await client.until("executing", node=None, prompt_id=prompt_id)
    assert (await client.entry(prompt_id))["status"]["status_str"] == "error"
    short = {"2": node("PreviewAny", source="y")}
    assert (await client.run(short))["outputs"]["2"] == {"text": ["y"]}


async def test_switch_evaluates_only_the_chosen_side(client: Client) -> None:
    """The other side never runs."""
    graph = {
        "1": node("StandinFail", value="x", kind="runtime", message="never"),
        "2": node("PrimitiveString", value="chosen"),
        "3": node("StandinSwitch", on=False, on_true=("1", 0), on_false=("2", 0)),
        "4": node("PreviewAny", source=("3", 0)),
    }
    assert (await client.run(graph))["outputs"]["4"] == {"text": ["chosen"]}
    assert [data["node"] for data in client.seen("executing")] == ["3", "2", "3", "4", None]


async def test_failing_node_is_named_with_its_message(client: Client) -> None:
    """Type, message and node."""
    graph = {
        "1": node("StandinFail", value="x", kind="out_of_memory", message="too big"),
        "2": node("PreviewAny", source=("1", 0)),
    }
    entry = await client.run(graph)
    name, data = entry["status"]["messages"][-1]
    assert name == "execution_error"
    assert (data["node_id"], data["node_type"]) == ("1", "StandinFail")
    assert data["exception_type"] == "torch.OutOfMemoryError"
    assert data["exception_message"].startswith("too big\n")


async def test_stopped_branch_leaves_the_others_alone(client: Client) -> None:
    """The run succeeds without that output."""
    graph = {
        "1": node("StandinStopBranch", value="x", stop=True, message="not today"),
        "2": node("PreviewAny", source=("1", 0)),
        "3": node("PreviewAny", source="free"),
    }
    entry = await client.run(graph)
    assert entry["status"]["status_str"] == "success"
    assert list(entry["outputs"]) == ["3"]
    assert client.seen("execution_error")[0]["exception_message"] == "Execution Blocked: not today"


async def test_sleeps_side_by_side_overlap(client: Client) -> None:
    """Both are running at once."""
    graph = {
        "1": node("StandinSleepBeside", value="a", seconds=0.2),
        "2": node("StandinSleepBeside", value="b", seconds=0.2),
        "3": node("PreviewAny", source=("1", 0)),
        "4": node("PreviewAny", source=("2", 0)),
    }
    await client.run(graph)
    states = client.seen("progress_state")
    running = [{name for name, one in state["nodes"].items() if one["state"] == "running"} for state in states]
    assert {"1", "2"} in running
