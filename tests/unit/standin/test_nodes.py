"""Every node class keeps its word: as many outputs as it declares, of values that the next node can take."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from services.standin.call import Interrupt, NodeCall
from services.standin.folders import Folders
from services.standin.frame import Frame
from services.standin.knobs import KnobBoard, Knobs
from services.standin.model.graph import Graph
from services.standin.model.node import NodeDefinition
from services.standin.model.value import Audio, Conditioning, Guidance, Latent, Video, Weights
from services.standin.nodes import all_nodes, modelled
from services.standin.progress import Progress

PICTURE = Image.new("RGB", (32, 32), (10, 20, 30))
GIVEN: dict[str, Any] = {
    "IMAGE": (PICTURE,),
    "MASK": (PICTURE.convert("L"),),
    "LATENT": Latent(width=32, height=32),
    "CONDITIONING": Conditioning(texts=("a fox",)),
    "GUIDER": Guidance(texts=("a fox",)),
    "SIGMAS": 2,
    "NOISE": 7,
    "SAMPLER": "euler",
    "AUDIO": Audio(duration=1.0, sample_rate=8000, channels=1),
    "VIDEO": Video(pictures=(PICTURE,), fps=8.0),
    "INT": 32,
    "FLOAT": 0.5,
    "STRING": "words",
    "BOOLEAN": True,
    "*": "anything",
}
RUNNABLE = [one for one in all_nodes() if not one.listings and one.class_type not in {"StandinFail", "LoadImageOutput"}]


class Sink:
    """Takes frames and forgets them."""

    def send(self, frame: Frame) -> None:
        """Nobody listens."""

    def wants_described_previews(self, client_id: Any) -> bool:
        """Nobody asked."""
        return False


def call(folder: Path) -> NodeCall:
    """A call of a node on its own."""
    folders = Folders(folder)
    folders.prepare()
    sink = Sink()
    return NodeCall(
        node_id="1",
        prompt_id="p",
        index=0,
        prompt={},
        extra_pnginfo=None,
        state={},
        folders=folders,
        knobs=KnobBoard(Knobs(step_seconds=0.0)),
        interrupt=Interrupt(),
        progress=Progress(prompt_id="p", client_id=None, graph=Graph({}), sink=sink),
        sink=sink,
    )


def inputs(definition: NodeDefinition) -> dict[str, Any]:
    """A fitting value for every input."""
    values: dict[str, Any] = {}
    for name, (kind, *options) in definition.inputs().items():
        settings = options[0] if options else {}
        if isinstance(kind, list):
            values[name] = kind[0]
        elif kind == "COMBO":
            values[name] = (settings.get("options") or ["auto"])[0]
        elif kind in ("INT", "FLOAT"):
            number = max(settings.get("min", 0), min(settings.get("max", 32), 2 if name == "steps" else 32))
            values[name] = number if kind == "INT" else float(number)
        else:
            first = kind.split(",")[0]
            values[name] = GIVEN.get(first, Weights(kind=first, name="any"))
    return values


@pytest.mark.parametrize("definition", RUNNABLE, ids=lambda one: str(one.class_type))
async def test_node_gives_one_value_for_each_output(definition: NodeDefinition, tmp_path: Path) -> None:
    """Nodes with ui data may give none."""
    values = inputs(definition)
    if definition.class_type.startswith("StandinSleep") or definition.class_type == "StandinBlock":
        values["seconds"] = 0.01
    given = definition.run(call(tmp_path), **values)
    if hasattr(given, "__await__"):
        given = await given
    if definition.output_node or not isinstance(given, tuple):
        return
    assert len(given) == len(definition.outputs)
    for kind, value in zip(definition.outputs, given, strict=True):
        wanted = GIVEN.get(kind)
        if wanted is not None and kind != "*":
            assert isinstance(value, type(wanted)), kind


def test_conditioning_between_encoder_and_sampler_keeps_the_text(tmp_path: Path) -> None:
    """Whatever node it passes."""
    for definition in modelled.nodes():
        if "CONDITIONING" not in definition.outputs:
            continue
        given = definition.run(call(tmp_path), **inputs(definition))
        texts = given[definition.outputs.index("CONDITIONING")].texts
        linked = any(spec[0] == "CONDITIONING" for spec in definition.inputs().values())
        assert not linked or "a fox" in texts, definition.class_type


def test_every_class_has_its_own_name() -> None:
    """No definition hides another."""
    names = [definition.class_type for definition in all_nodes()]
    assert len(names) == len(set(names))
    assert len(names) > 300
