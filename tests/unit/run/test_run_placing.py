"""Values find their places in a graph."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from services.common.graph import Graph
from services.common.json_bytes import JsonValue
from services.common.parameters import Default, Parameter, ParameterTarget, ParameterType
from services.run.model.blank import find_blanks
from services.run.model.workflow import graph_bytes
from services.run.placing import Placed, PlacedFile, place, with_file_ids

BIGGEST_SEED = 18446744073709551615
FILE_ID = "01890f00-0000-7000-8000-000000000001"
OTHER_FILE_ID = "01890f00-0000-7000-8000-000000000002"


def graph_of(**nodes: dict[str, Any]) -> Graph:
    return {
        node_id.removeprefix("n"): {"class_type": inputs.pop("class", "Any"), "inputs": inputs}
        for node_id, inputs in nodes.items()
    }


def put(
    graph: Graph,
    *definitions: Parameter,
    values: dict[str, JsonValue] | None = None,
    overrides: JsonValue = None,
    random: Iterator[int] | None = None,
) -> Placed:
    numbers = random or count(1)
    return place(
        graph,
        blanks=find_blanks(graph),
        definitions=definitions,
        values=values or {},
        overrides=overrides,
        random=lambda: next(numbers),
        moment_ms=1700000000123,
    )


def parameter(key: str, kind: ParameterType, *targets: str, **more: Any) -> Parameter:
    places = [target.partition(".") for target in targets]
    return Parameter(
        key=key,
        type=kind,
        targets=tuple(ParameterTarget(node_id=node, input=path) for node, _, path in places),
        **more,
    )


def reasons(placed: Placed) -> list[tuple[str, str]]:
    return [(violation.field, violation.reason) for violation in placed.violations]


def test_graph_without_values_is_handed_on_as_it_is() -> None:
    graph = graph_of(n1={"text": "$text", "seed": 7})
    placed = put(graph)
    assert placed.graph is graph
    assert not placed.changed
    assert placed.violations == ()


def test_largest_seed_stays_exact_as_parameter_and_as_override() -> None:
    graph = graph_of(n3={"seed": 0, "other_seed": 0})
    seed = parameter("seed", ParameterType.INTEGER, "3.seed")
    placed = put(graph, seed, values={"seed": BIGGEST_SEED}, overrides={"3": {"inputs": {"other_seed": BIGGEST_SEED}}})
    assert graph_bytes(placed.graph) == (
        b'{"3":{"class_type":"Any","inputs":{"other_seed":18446744073709551615,"seed":18446744073709551615}}}'
    )
    assert graph["3"]["inputs"] == {"seed": 0, "other_seed": 0}


def test_value_lands_in_all_targets_and_inside_structured_literals() -> None:
    graph = graph_of(n1={"text": "a"}, n2={"lines": ["x", {"y": "z"}]})
    text = parameter("prompt", ParameterType.STRING, "1.text", "2.lines.1.y")
    placed = put(graph, text, values={"prompt": "new"})
    assert placed.graph["1"]["inputs"] == {"text": "new"}
    assert placed.graph["2"]["inputs"] == {"lines": ["x", {"y": "new"}]}
    assert graph["2"]["inputs"] == {"lines": ["x", {"y": "z"}]}


def test_overrides_win_over_parameters_and_parameters_over_defaults() -> None:
    graph = graph_of(n1={"a": 0, "b": 0, "c": 0})
    definitions = [
        parameter(key, ParameterType.INTEGER, f"1.{key}", default=Default(value=1)) for key in ("a", "b", "c")
    ]
    placed = put(graph, *definitions, values={"b": 2, "c": 2}, overrides={"1": {"inputs": {"c": 3}}})
    assert placed.graph["1"]["inputs"] == {"a": 1, "b": 2, "c": 3}


def test_random_differs_at_each_place_and_timestamp_is_one() -> None:
    graph = graph_of(n1={"seed": "$random()", "at": "$timestamp()"}, n2={"seed": "$random()", "at": ["$timestamp()"]})
    placed = put(graph, random=iter([BIGGEST_SEED, 5]))
    assert placed.graph["1"]["inputs"] == {"seed": BIGGEST_SEED, "at": 1700000000123}
    assert placed.graph["2"]["inputs"] == {"seed": 5, "at": [1700000000123]}


def test_placeholders_fall_back_to_their_own_defaults() -> None:
    graph = graph_of(n1={"text": "$text(prompt, a cat)", "sampler": "$choice(sampler, euler, ddim)"})
    placed = put(graph)
    assert placed.graph["1"]["inputs"] == {"text": "a cat", "sampler": "euler"}


def test_placeholder_without_value_is_a_violation() -> None:
    placed = put(graph_of(n1={"text": "$text(prompt)", "image": "$file(photo)"}))
    assert reasons(placed) == [
        ("graph.1.inputs.text", "MISSING_PARAMETER"),
        ("graph.1.inputs.image", "MISSING_PARAMETER"),
    ]


def test_missing_required_parameter_is_not_reported_a_second_time_at_its_placeholder() -> None:
    prompt = parameter("prompt", ParameterType.STRING, "1.text", required=True)
    assert reasons(put(graph_of(n1={"text": "$text(prompt)"}), prompt)) == []


def test_text_of_a_caller_that_looks_like_a_placeholder_stays_text() -> None:
    prompt = parameter("prompt", ParameterType.STRING, "1.text")
    placed = put(graph_of(n1={"text": "$text(prompt)", "other": ""}), prompt, values={"prompt": "$random()"})
    assert placed.graph["1"]["inputs"]["text"] == "$random()"


def test_every_wrong_override_is_named() -> None:
    graph = graph_of(n6={"text": "a"})
    overrides: JsonValue = {
        "9": {"inputs": {}},
        "6": {"inputs": {"text": "b", "size": 1, "seed": 2}},
        "7": 5,
    }
    assert reasons(put(graph, overrides=overrides)) == [
        ("overrides.9", "UNKNOWN_NODE"),
        ("overrides.6.inputs.size", "UNKNOWN_INPUT"),
        ("overrides.6.inputs.seed", "UNKNOWN_INPUT"),
        ("overrides.7", "UNKNOWN_NODE"),
    ]
    assert reasons(put(graph, overrides={"6": {"inputs": {"text": "b"}, "class_type": "Evil"}})) == [
        ("overrides.6", "BAD_OVERRIDE")
    ]
    assert reasons(put(graph, overrides=[])) == [("overrides", "NOT_AN_OBJECT")]


def test_target_that_the_graph_lacks_is_a_violation() -> None:
    lost = parameter("size", ParameterType.INTEGER, "9.size", "1.deep.er")
    assert reasons(put(graph_of(n1={"deep": 1}), lost, values={"size": 1})) == [
        ("parameters.size", "BAD_TARGET"),
        ("parameters.size", "BAD_TARGET"),
    ]


def test_files_are_found_wherever_they_were_given() -> None:
    graph = graph_of(
        n1={"class": "LoadImage", "image": "example.png"},
        n2={"class": "LoadImage", "image": FILE_ID},
        n3={"class": "Own", "photos": ["a.png"]},
    )
    photos = parameter("photos", ParameterType.FILE, "3.photos", multiple=True, accept=("image/*",))
    placed = put(
        graph,
        photos,
        values={"photos": [OTHER_FILE_ID, "data:,hello"]},
        overrides={"1": {"inputs": {"image": "data:image/png;base64,AAAA"}}},
    )
    assert placed.violations == ()
    assert placed.files == (
        PlacedFile(
            field="parameters.photos[0]",
            node_id="3",
            path="photos",
            reference=OTHER_FILE_ID,
            accept=("image/*",),
            position=0,
        ),
        PlacedFile(
            field="parameters.photos[1]",
            node_id="3",
            path="photos",
            reference="data:,hello",
            accept=("image/*",),
            position=1,
        ),
        PlacedFile(field="overrides.1.inputs.image", node_id="1", path="image", reference="data:image/png;base64,AAAA"),
        PlacedFile(field="graph.2.inputs.image", node_id="2", path="image", reference=FILE_ID),
    )
    final = with_file_ids(placed, [OTHER_FILE_ID, "second", "third", FILE_ID])
    assert final["3"]["inputs"]["photos"] == [OTHER_FILE_ID, "second"]
    assert final["1"]["inputs"]["image"] == "third"
    assert final["2"]["inputs"]["image"] == FILE_ID


@pytest.mark.parametrize("url", ["https://example.org/a.png", "HTTPS://example.org/a.png"])
def test_url_is_refused_where_a_file_is_meant_and_taken_where_text_is(url: str) -> None:
    graph = graph_of(n1={"class": "LoadImage", "image": "a.png"}, n2={"text": ""})
    placed = put(graph, overrides={"1": {"inputs": {"image": url}}, "2": {"inputs": {"text": url}}})
    assert reasons(placed) == [("overrides.1.inputs.image", "URL_NOT_TAKEN")]
