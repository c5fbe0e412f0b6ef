"""The many nodes around a sampler that only a model could give meaning to.

Their sockets, the facts that clients need, are in `modelled.json`, taken from a recorded `/object_info`. All of them
do the same: hand on what came in, by type, and otherwise make the simplest value of the type. So every graph around
a sampler runs, and its picture still depends on seeds and texts.
"""

import json
from importlib import resources
from typing import Any

from services.standin.call import NodeCall
from services.standin.model.node import InputSpec, NodeDefinition, Style
from services.standin.model.value import Audio, Conditioning, Guidance, Latent, Pictures, Weights
from services.standin.models import MODEL_NAMES
from services.standin.nodes.conditioning import joined_texts
from services.standin.nodes.latent import MOST_FRAMES, decode, encode

WORDS = "Makes no difference here."
DESCRIPTION = "Stands for a node that needs a model."
DEFAULT_SIDE = 512
DEFAULT_STEPS = 20
_FOLDERS = {
    "ckpt_name": "checkpoints",
    "lora_name": "loras",
    "control_net_name": "controlnet",
    "clip_name1": "text_encoders",
    "clip_name2": "text_encoders",
    "clip_name3": "text_encoders",
    "clip_name4": "text_encoders",
}
_NUMBERS: dict[str, Any] = {"INT": 0, "FLOAT": 0.0, "STRING": "", "BOOLEAN": False}


def stand_for(call: NodeCall, definition: NodeDefinition, inputs: dict[str, Any]) -> tuple[Any, ...]:
    """The outputs of such a node: for each type the inputs of that type in turn, then a value made for it."""
    call.block(call.knobs.now.loader_seconds if definition.free_choices else 0.0)
    left: dict[str, list[Any]] = {}
    for name, spec in definition.inputs().items():
        if inputs.get(name) is not None and isinstance(spec[0], str):
            left.setdefault(spec[0], []).append(inputs[name])
    return tuple(
        left[kind].pop(0) if left.get(kind) and kind not in _NUMBERS else _made(call, kind, inputs)
        for kind in definition.outputs
    )


def _made(call: NodeCall, kind: str, inputs: dict[str, Any]) -> Any:
    match kind:
        case "CONDITIONING":
            return _texts(inputs)
        case "LATENT":
            return _latent(call, inputs)
        case "IMAGE":
            return _pictures(call, inputs)
        case "SIGMAS":
            return next((value for name, value in inputs.items() if name in ("steps", "sigmas")), DEFAULT_STEPS)
        case "SAMPLER":
            return kind
        case "NOISE":
            return inputs.get("noise_seed", 0)
        case "GUIDER":
            return Guidance(texts=_texts(inputs).texts)
        case "AUDIO":
            return Audio(duration=1.0, sample_rate=44100, channels=2)
    return _NUMBERS.get(kind, Weights(kind=kind, name=kind))


def _texts(inputs: dict[str, Any]) -> Conditioning:
    return joined_texts(*(value for value in inputs.values() if isinstance(value, str | Conditioning)))


def _latent(call: NodeCall, inputs: dict[str, Any]) -> Latent:
    pictures = next((value for value in inputs.values() if _is_batch(value)), None)
    if "width" not in inputs and pictures is not None:
        return encode(call, pixels=pictures, vae=None)[0]
    frames = min(max(1, int(inputs.get("length", 1))), MOST_FRAMES)
    return Latent(
        width=int(inputs.get("width", DEFAULT_SIDE)),
        height=int(inputs.get("height", DEFAULT_SIDE)),
        batch_size=int(inputs.get("batch_size", 1)) * frames,
    )


def _pictures(call: NodeCall, inputs: dict[str, Any]) -> Pictures:
    latent = next((value for value in inputs.values() if isinstance(value, Latent)), None)
    return decode(call, samples=latent or _latent(call, inputs), vae=None)[0]


def _is_batch(value: Any) -> bool:
    return isinstance(value, tuple) and bool(value) and hasattr(value[0], "getbands")


def _definition(class_type: str, facts: dict[str, Any]) -> NodeDefinition:
    required, optional = _specs(facts.get("required", {})), _specs(facts.get("optional", {}))
    listed = frozenset(name for name, spec in {**required, **optional}.items() if _lists_files(facts, name, spec))

    def run(call: NodeCall, **inputs: Any) -> tuple[Any, ...]:
        return stand_for(call, definition, inputs)

    definition = NodeDefinition(
        class_type=class_type,
        run=run,
        required=required,
        optional=optional,
        hidden=facts.get("hidden", {}),
        outputs=tuple(facts["outputs"]),
        output_names=tuple(facts["names"]) if "names" in facts else None,
        output_lists=tuple(facts["lists"]) if "lists" in facts else None,
        output_tooltips=(WORDS,) * len(facts["outputs"]) if facts.get("hinted") else None,
        display_name=facts.get("shown"),
        description=DESCRIPTION if facts.get("described") else "",
        python_module=facts["module"],
        category=facts["category"],
        style=Style.SCHEMA if facts.get("schema") else Style.CLASSIC,
        marks=facts.get("marks", {}),
        free_choices=listed,
    )
    return definition


def _specs(facts: dict[str, Any]) -> dict[str, InputSpec]:
    """Input definitions with our words, and our made-up names where the recorded server had no files."""
    specs: dict[str, InputSpec] = {}
    for name, (kind, *rest) in facts.items():
        options = [{**one, **({"tooltip": WORDS} if "tooltip" in one else {})} for one in rest]
        names = MODEL_NAMES[_FOLDERS[name]] if name in _FOLDERS else ["standin.safetensors"]
        if kind == []:
            kind = names
        elif kind == "COMBO" and options and options[0].get("options") == []:
            options[0]["options"] = names
        specs[name] = [kind, *options]
    return specs


def _lists_files(facts: dict[str, Any], name: str, spec: InputSpec) -> bool:
    recorded: InputSpec = {**facts.get("required", {}), **facts.get("optional", {})}[name]
    return bool(recorded[0] != spec[0] or (recorded[0] == "COMBO" and recorded[1].get("options") == []))


def nodes() -> list[NodeDefinition]:
    """The definitions of this family."""
    facts = json.loads(resources.files("services.standin.nodes").joinpath("modelled.json").read_text(encoding="utf-8"))
    return [_definition(class_type, one) for class_type, one in facts.items()]
