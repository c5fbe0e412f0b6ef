"""The node classes that a stand-in has."""

from collections.abc import Iterable
from typing import Any

from services.standin.folders import Folders
from services.standin.model.node import InputSpec, NodeDefinition, Style
from services.standin.model.value import JsonObject


class Catalogue:
    """Node definitions by class type."""

    def __init__(self, definitions: Iterable[NodeDefinition], *, folders: Folders) -> None:
        self._definitions = {definition.class_type: definition for definition in definitions}
        self._folders = folders

    def find(self, class_type: Any) -> NodeDefinition | None:
        """The definition of a class, or None."""
        return self._definitions.get(class_type)

    def __getitem__(self, class_type: str) -> NodeDefinition:
        return self._definitions[class_type]

    def spec(self, definition: NodeDefinition, name: str) -> InputSpec:
        """The definition of an input, its choices read from the folders where they come from there."""
        spec = definition.spec(name)
        if spec is None:
            raise KeyError(name)
        listing = definition.listings.get(name)
        return spec if listing is None else [listing(self._folders), *spec[1:]]

    def object_info(self, class_type: str | None = None) -> JsonObject:
        """The answer to `/object_info`, or to `/object_info/{class}`: `{}` for an unknown class."""
        if class_type is None:
            return {name: self._describe(found) for name, found in self._definitions.items()}
        definition = self.find(class_type)
        return {} if definition is None else {class_type: self._describe(definition)}

    def _describe(self, definition: NodeDefinition) -> JsonObject:
        sections: dict[str, dict[str, Any]] = {
            "required": {name: self.spec(definition, name) for name in definition.required}
        }
        if definition.optional:
            sections["optional"] = {name: self.spec(definition, name) for name in definition.optional}
        if definition.hidden:
            sections["hidden"] = dict(definition.hidden)
        outputs = list(definition.outputs)
        tooltips = definition.output_tooltips
        described: JsonObject = {
            "input": sections,
            "input_order": {section: list(names) for section, names in sections.items()},
            "output": outputs,
            "output_is_list": list(definition.output_lists or [False] * len(outputs)),
            "output_name": list(definition.output_names or outputs),
        }
        if definition.style is Style.SCHEMA:
            described["output_tooltips"] = list(tooltips or [None] * len(outputs))
        described |= {
            "name": definition.class_type,
            "display_name": definition.display_name,
            "description": definition.description,
            "python_module": definition.python_module,
            "category": definition.category,
            "output_node": definition.output_node,
        }
        if definition.style is Style.SCHEMA:
            marks = {"deprecated": False, "experimental": False, "api_node": False, **definition.marks}
            return described | marks
        if definition.display_name is None:
            described["display_name"] = definition.class_type
        if tooltips is not None:
            described["output_tooltips"] = list(tooltips)
        return described | dict(definition.marks)
