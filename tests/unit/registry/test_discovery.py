"""Parameters and outputs of a graph that nobody has defined."""

import json
import random
from typing import Any

import pytest

from services.common.json_bytes import JsonValue
from services.common.parameters import (
    Default,
    Parameter,
    ParameterSource,
    ParameterTarget,
    ParameterType,
    validate_values,
)
from services.registry.discovery import NodeCatalogue, check_placeholders, discover, read_catalogue
from services.registry.discovery.discover import MAX_LITERALS
from services.registry.model.definition_rules import check_definitions

CATALOGUE = read_catalogue(
    "h1",
    json.dumps(
        {
            "KSampler": {
                "input": {
                    "required": {
                        "seed": ["INT", {"min": 0, "max": 2**64 - 1}],
                        "cfg": ["FLOAT", {"min": 0.0, "max": 100.0}],
                        "sampler_name": [["euler", "ddim"]],
                        "model": ["MODEL"],
                    }
                }
            },
            "LoadPicture": {"input": {"required": {"image": [["a.png"], {"image_upload": True}]}}},
            "CLIPTextEncode": {"input": {"required": {"text": ["STRING", {"tooltip": "The text"}]}}},
            "Keep": {"output_node": True},
            "SaveNothing": {"output_node": False},
        }
    ).encode(),
)


def _node(class_type: str, title: str = "", **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs, **({"_meta": {"title": title}} if title else {})}


def _found(graph: dict[str, Any], catalogue: NodeCatalogue | None = None) -> dict[str, Parameter]:
    found = discover(graph, catalogue)
    assert check_definitions(graph, found.parameters, found.outputs) == []
    return {parameter.key: parameter for parameter in found.parameters}


def test_without_a_catalogue_literals_have_their_json_types() -> None:
    graph = {
        "1": _node("A", "My Node", s="x", i=2**64 - 1, f=1.5, b=True, j={"a": [1]}, n=None, link=["2", 0]),
        "2": _node("B"),
    }
    found = _found(graph)
    assert {key: (p.type, p.default) for key, p in found.items()} == {
        "my-node.s": (ParameterType.STRING, Default(value="x")),
        "my-node.i": (ParameterType.INTEGER, Default(value=2**64 - 1)),
        "my-node.f": (ParameterType.NUMBER, Default(value=1.5)),
        "my-node.b": (ParameterType.BOOLEAN, Default(value=True)),
        "my-node.j": (ParameterType.JSON, Default(value={"a": [1]})),
        "my-node.n": (ParameterType.JSON, Default(value=None)),
    }
    assert {(p.source, p.required, p.typed_by_catalogue) for p in found.values()} == {
        (ParameterSource.LITERAL, False, False)
    }
    assert found["my-node.s"].targets == (ParameterTarget(node_id="1", input="s"),)
    assert discover(graph).catalogue_hash == ""


def test_a_catalogue_gives_types_bounds_and_options() -> None:
    graph = {
        "1": _node("KSampler", seed=5, cfg=8, sampler_name="euler", other="x"),
        "2": _node("LoadPicture", image="a.png"),
    }
    found = _found(graph, CATALOGUE)
    assert (found["ksampler.seed"].minimum, found["ksampler.seed"].maximum) == (0, 2**64 - 1)
    assert (found["ksampler.cfg"].type, found["ksampler.cfg"].default) == (ParameterType.NUMBER, Default(value=8))
    assert found["ksampler.sampler_name"].options == ("euler", "ddim")
    assert found["loadpicture.image"].type is ParameterType.FILE
    assert found["loadpicture.image"].accept == ("image/*",)
    assert found["loadpicture.image"].default is None
    assert {key for key, p in found.items() if not p.typed_by_catalogue} == {"ksampler.other"}
    assert discover(graph, CATALOGUE).catalogue_hash == "h1"


def test_a_literal_outside_its_catalogue_is_no_default() -> None:
    found = _found({"1": _node("KSampler", seed=-1, cfg="8", sampler_name="gone")}, CATALOGUE)
    assert [p.default for p in found.values()] == [None, None, None]


def test_a_well_known_loader_takes_a_file_without_any_catalogue() -> None:
    parameter = _found({"1": _node("LoadImage", image="x.png")})["loadimage.image"]
    assert (parameter.type, parameter.typed_by_catalogue, parameter.default) == (ParameterType.FILE, False, None)


def test_placeholders_come_first_and_share_their_places() -> None:
    graph = {
        "1": _node("CLIPTextEncode", text="$text(prompt)", n=1),
        "2": _node("CLIPTextEncode", text="$text(prompt, a cat)"),
        "3": _node("KSampler", seed="$random()", x="$timestamp()", sampler_name="$choice(sampler, euler, ddim)"),
        "4": _node("LoadPicture", image="$file(photo)"),
        "5": _node("Deep", value={"a": ["$text(deep)", 2]}),
    }
    found = _found(graph)
    assert list(found) == ["prompt", "sampler", "photo", "deep", "cliptextencode-1.n"]
    assert found["prompt"].targets == (
        ParameterTarget(node_id="1", input="text"),
        ParameterTarget(node_id="2", input="text"),
    )
    assert (found["prompt"].required, found["prompt"].default) == (False, Default(value="a cat"))
    assert (found["sampler"].options, found["sampler"].default) == (("euler", "ddim"), Default(value="euler"))
    assert (found["photo"].type, found["photo"].required) == (ParameterType.FILE, True)
    assert found["deep"].targets == (ParameterTarget(node_id="5", input="value.a.0"),)
    assert found["deep"].required


def test_a_catalogue_types_placeholders_too() -> None:
    graph = {
        "1": _node(
            "KSampler", seed="$text(seed, 18446744073709551615)", cfg="$text(cfg, much)", sampler_name="$text(s)"
        ),
        "2": _node("KSampler", cfg="$choice(strength, 1.5, 2)"),
        "3": _node("LoadPicture", image="$file(photo)"),
    }
    found = _found(graph, CATALOGUE)
    assert (found["seed"].type, found["seed"].default) == (ParameterType.INTEGER, Default(value=2**64 - 1))
    assert (found["cfg"].type, found["cfg"].default) == (ParameterType.STRING, Default(value="much"))
    assert (found["s"].type, found["s"].options, found["s"].required) == (ParameterType.SELECT, ("euler", "ddim"), True)
    assert found["strength"].options == (1.5, 2)
    assert found["photo"].accept == ("image/*",)


def test_a_placeholder_in_places_of_several_types_is_a_string() -> None:
    graph = {"1": _node("KSampler", seed="$text(x)", cfg="$text(x)")}
    assert _found(graph, CATALOGUE)["x"].type is ParameterType.STRING


def test_names_that_stand_for_two_kinds_are_refused() -> None:
    graph = {"1": _node("A", a="$text(x)", b="$file(x)", c="$text(y)")}
    assert [violation.reason for violation in check_placeholders(graph, None)] == ["PLACEHOLDER_CONFLICT"]


def test_placeholders_that_no_given_parameter_sets_are_named() -> None:
    graph = {"1": _node("A", a="$text(x)", b="$text(y)")}
    given = Parameter(key="x", type=ParameterType.STRING, targets=(ParameterTarget(node_id="1", input="a"),))
    violations = check_placeholders(graph, [given])
    assert [(v.field, v.reason) for v in violations] == [("parameters", "UNDEFINED_PLACEHOLDER")]
    assert "'y'" in violations[0].message


def test_keys_do_not_depend_on_the_order_of_the_graph() -> None:
    nodes = [
        (str(n), _node("A", ["Same", "same!", "Other", "猫", "", "x" * 300][n % 6], v=n, **{"w" * 200: 1}))
        for n in range(24)
    ]
    keys = {(p.targets, key) for key, p in _found(dict(nodes)).items()}
    for seed in range(5):
        random.Random(seed).shuffle(nodes)
        assert {(p.targets, key) for key, p in _found(dict(nodes)).items()} == keys


def test_a_title_that_imitates_another_key_still_gives_unique_keys() -> None:
    graph = {
        "1": _node("A", "a", v=1),
        "2": _node("A", "a", v=1),
        "3": _node("A", "a 1", v=1),
        "4": _node("A", v="$text(a-2.v)"),
    }
    found = _found(graph)
    assert len(found) == 4
    assert "a-2.v" in found


def test_other_scripts_are_kept_in_keys() -> None:
    assert "猫の絵.v" in _found({"1": _node("A", "猫の絵", v=1)})


def test_long_literals_stay_out_of_the_definitions() -> None:
    found = _found({"1": _node("A", long="x" * 2000, short="x")})
    assert found["a.long"].default is None
    assert found["a.short"].default == Default(value="x")


def test_discovery_is_bounded() -> None:
    graph = {str(n): _node("A", v=1) for n in range(2000)}
    assert len(_found(graph)) == MAX_LITERALS


def test_outputs_are_told_by_the_catalogue_or_by_their_names() -> None:
    graph = {
        "1": _node("Keep", "Result"),
        "2": _node("SaveNothing"),
        "3": _node("SaveImage", "Save", prefix="x"),
        "4": _node("PreviewAny", "Save"),
        "5": _node("Unknown"),
    }
    assert [(o.key, o.node_id) for o in discover(graph, CATALOGUE).outputs] == [
        ("result", "1"), ("save-3", "3"), ("save-4", "4"),
    ]  # fmt: skip
    assert [o.node_id for o in discover(graph).outputs] == ["2", "3", "4"]


@pytest.mark.parametrize("catalogue", [None, CATALOGUE])
def test_every_default_is_a_value_of_its_parameter(catalogue: NodeCatalogue | None) -> None:
    graph = {"1": _node("KSampler", seed=1, cfg=1, sampler_name="ddim"), "2": _node("A", v="$choice(c, a, b)", w=1.5)}
    parameters = discover(graph, catalogue).parameters
    defaults: dict[str, JsonValue] = {p.key: p.default.value for p in parameters if p.default is not None}
    assert len(defaults) == 5
    assert validate_values(parameters, defaults, {}).violations == ()
