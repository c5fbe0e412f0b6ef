# ruff: noqa: ARG001 - a node's function takes every input of its class, by the name that clients use
"""Nodes for texts, numbers and switches."""

import json
from typing import Any

from services.standin.call import NodeCall
from services.standin.model.node import InputSpec, NodeDefinition, NodeResult, Style
from services.standin.nodes.spec import text

LARGEST_INT = 2**63 - 1


def same(call: NodeCall, *, value: Any) -> tuple[Any]:
    """What was typed in."""
    return (value,)


def concatenate(call: NodeCall, *, string_a: str, string_b: str, delimiter: str) -> tuple[str]:
    """Two texts with another between them."""
    return (delimiter.join((string_a, string_b)),)


def preview_any(call: NodeCall, *, source: Any = None) -> NodeResult:
    """Any value as text: JSON where it is made of that, else as Python shows it."""
    if isinstance(source, str):
        shown = source
    elif isinstance(source, int | float | bool):
        shown = str(source)
    elif source is None:
        shown = "None"
    else:
        try:
            shown = json.dumps(source)
        except (TypeError, ValueError):
            shown = str(source)
    return NodeResult(ui={"text": [shown]})


def _primitive(class_type: str, shown: str, kind: str, options: dict[str, Any]) -> NodeDefinition:
    spec: InputSpec = [kind, options]
    return NodeDefinition(
        class_type=class_type,
        run=same,
        required={"value": spec},
        outputs=(kind,),
        display_name=shown,
        category="utils/primitive",
        python_module="comfy_extras.nodes_primitive",
        style=Style.SCHEMA,
    )


def nodes() -> list[NodeDefinition]:
    """The definitions of this family."""
    bounds = {"min": -LARGEST_INT, "max": LARGEST_INT}
    return [
        _primitive("PrimitiveString", "String", "STRING", {"multiline": False}),
        _primitive("PrimitiveStringMultiline", "String (Multiline)", "STRING", {"multiline": True}),
        _primitive("PrimitiveInt", "Int", "INT", {**bounds, "control_after_generate": True}),
        _primitive("PrimitiveFloat", "Float", "FLOAT", dict(bounds)),
        _primitive("PrimitiveBoolean", "Boolean", "BOOLEAN", {}),
        NodeDefinition(
            class_type="StringConcatenate",
            run=concatenate,
            required={
                "string_a": text(multiline=True),
                "string_b": text(multiline=True),
                "delimiter": text("", multiline=False),
            },
            outputs=("STRING",),
            display_name="Concatenate",
            category="utils/string",
            python_module="comfy_extras.nodes_string",
            style=Style.SCHEMA,
        ),
        NodeDefinition(
            class_type="PreviewAny",
            run=preview_any,
            required={"source": ["*", {}]},
            display_name="Preview Any",
            category="utils",
            python_module="comfy_extras.nodes_preview_any",
            output_node=True,
        ),
    ]
