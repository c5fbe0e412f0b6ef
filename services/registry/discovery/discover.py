"""Discovery: the parameters and outputs of a graph that nobody has defined.

First the placeholders, then every unlinked literal; types and bounds from a node catalogue where one knows the class,
else from the literal's JSON. Literals beyond `MAX_LITERALS` or `MAX_LITERAL_BYTES` are left to overrides.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from services.common.graph import Graph, node_title
from services.common.json_bytes import JsonValue, canonical_json
from services.common.parameters import (
    Default,
    OutputDefinition,
    Parameter,
    ParameterSource,
    ParameterType,
    Refused,
    checked_value,
)
from services.registry.discovery.catalogue import InputSpec, NodeCatalogue
from services.registry.discovery.keys import title_slugs, unique_keys
from services.registry.discovery.known_nodes import known_input, looks_like_output
from services.registry.discovery.placeholders import placeholder_parameter
from services.registry.discovery.places import Place, places
from services.registry.model.definition_json import parameter_to_json

MAX_LITERALS = 500
MAX_LITERAL_BYTES = 512 * 1024
"""Of all parameters made of literals together, as JSON."""
MAX_DEFAULT_BYTES = 1024
"""A longer literal is no default: it stands in the graph already, and definitions travel in every BASIC view."""
MAX_LABEL_CHARACTERS = 200


@dataclass(frozen=True, kw_only=True)
class Discovery:
    """What was found."""

    parameters: tuple[Parameter, ...]
    outputs: tuple[OutputDefinition, ...]
    catalogue_hash: str
    """Of the catalogue that typed them; empty: none did."""


def discover(graph: Graph, catalogue: NodeCatalogue | None = None) -> Discovery:
    """The parameters and outputs of a checked graph."""
    found = list(places(graph))
    parameters = list(_placeholder_parameters(found, catalogue))
    slugs = title_slugs(graph)
    plain = [place for place in found if place.placeholder is None][:MAX_LITERALS]
    wanted = [
        (f"{slugs[place.target.node_id]}.{place.input}", f"{place.target.node_id}\n{place.input}") for place in plain
    ]
    keys = unique_keys(wanted, {parameter.key for parameter in parameters})
    room = MAX_LITERAL_BYTES
    for key, place in zip(keys, plain, strict=True):
        parameter = _literal_parameter(key, place, _spec(place, catalogue), node_title(graph[place.target.node_id]))
        room -= len(canonical_json(parameter_to_json(parameter)))
        if room < 0:
            break
        parameters.append(parameter)
    return Discovery(
        parameters=tuple(parameters),
        outputs=tuple(_outputs(graph, slugs, catalogue)),
        catalogue_hash=catalogue.hash if catalogue is not None else "",
    )


def _placeholder_parameters(found: list[Place], catalogue: NodeCatalogue | None) -> Iterator[Parameter]:
    groups: dict[str, list[tuple[Place, InputSpec | None]]] = {}
    for place in found:
        if place.placeholder is not None and place.placeholder.is_parameter:
            spec = _spec(place, catalogue) if place.is_whole_input else None
            groups.setdefault(place.placeholder.name, []).append((place, spec))
    for group in groups.values():
        yield placeholder_parameter(group)


def _spec(place: Place, catalogue: NodeCatalogue | None) -> InputSpec | None:
    node_class = catalogue.classes.get(place.class_type) if catalogue is not None else None
    if node_class is not None:
        return node_class.inputs.get(place.input)
    return known_input(place.class_type, place.input)


def _literal_parameter(key: str, place: Place, known: InputSpec | None, title: str) -> Parameter:
    spec = known or InputSpec(type=_json_type(place.value), from_catalogue=False)
    parameter = Parameter(
        key=key,
        type=spec.type,
        label=_label(title, place.input),
        description=spec.tooltip,
        minimum=spec.minimum,
        maximum=spec.maximum,
        step=spec.step,
        options=spec.options,
        accept=spec.accept,
        multiple=spec.multiple,
        targets=(place.target,),
        source=ParameterSource.LITERAL,
        typed_by_catalogue=spec.from_catalogue,
    )
    default = _default(parameter, place.value)
    return replace(parameter, default=default)


def _default(parameter: Parameter, value: JsonValue) -> Default | None:
    """The literal itself, if it is a value of the type: a file's name at a backend is none, and some are just wrong."""
    if parameter.type is ParameterType.FILE or len(canonical_json(value)) > MAX_DEFAULT_BYTES:
        return None
    if parameter.multiple and not isinstance(value, list):
        return None
    try:
        for item in value if parameter.multiple and isinstance(value, list) else [value]:
            checked_value(parameter, item)
    except Refused:
        return None
    return Default(value=value)


def _json_type(value: JsonValue) -> ParameterType:
    match value:
        case bool():
            return ParameterType.BOOLEAN
        case str():
            return ParameterType.STRING
        case int():
            return ParameterType.INTEGER
        case float():
            return ParameterType.NUMBER
        case _:
            return ParameterType.JSON


def _label(title: str, name: str) -> str:
    plain = "".join(letter if letter.isprintable() else " " for letter in f"{title}: {name}")
    return plain[:MAX_LABEL_CHARACTERS]


def _outputs(graph: Graph, slugs: dict[str, str], catalogue: NodeCatalogue | None) -> Iterator[OutputDefinition]:
    nodes = [node_id for node_id, node in graph.items() if _is_output(node["class_type"], catalogue)]
    keys = unique_keys([(slugs[node_id], node_id) for node_id in nodes], ())
    for key, node_id in zip(keys, nodes, strict=True):
        yield OutputDefinition(key=key, node_id=node_id)


def _is_output(class_type: str, catalogue: NodeCatalogue | None) -> bool:
    node_class = catalogue.classes.get(class_type) if catalogue is not None else None
    return node_class.output_node if node_class is not None else looks_like_output(class_type)
