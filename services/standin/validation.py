"""Which outputs of a posted prompt can run, and what is wrong with the others.

Literals are turned into the input's type on the way, in the prompt itself: that is the form that the queue and the
history show. Types and short messages are those of the recorded protocol, because clients look for them.
"""

import traceback
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

from services.standin.catalogue import Catalogue
from services.standin.folders import Folders
from services.standin.model.failure import wire_type
from services.standin.model.graph import is_link
from services.standin.model.node import NodeDefinition
from services.standin.model.value import JsonObject

LONGEST_SHOWN_LIST = 20
_CONVERSIONS: dict[str, Callable[[Any], Any]] = {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What validation found. `error` is None if at least one output can run; `outputs` are those."""

    error: JsonObject | None = None
    outputs: list[str] = field(default_factory=list)
    node_errors: JsonObject = field(default_factory=dict)


def refusal(kind: str, message: str, details: str = "") -> JsonObject:
    """The `error` of a refused prompt."""
    return {"type": kind, "message": message, "details": details, "extra_info": {}}


Check = Generator[Any, bool | None, bool]
"""Yields the ids of nodes to be checked first, is sent whether each is fine, and returns whether its own is."""


class Validation:
    """Checks one prompt. Anything that is no prompt at all raises, and becomes a 500, as recorded."""

    def __init__(self, prompt: Any, *, catalogue: Catalogue, folders: Folders) -> None:
        self._prompt = prompt
        self._catalogue = catalogue
        self._folders = folders
        self._found: dict[Any, list[JsonObject] | None] = {}
        """Errors of each node looked at: None = fine, an empty list = only something above it is wrong."""
        self._path: set[Any] = set()

    def verdict(self, targets: Any) -> Verdict:
        """Checks every output node, or only those among `targets`."""
        wanted = []
        for node_id in self._prompt:
            node = self._prompt[node_id]
            if "class_type" not in node:
                message = "Cannot execute because a node is missing the class_type property."
                return Verdict(error=refusal("invalid_prompt", message, f"Node ID '#{node_id}'"))
            definition = self._catalogue.find(node["class_type"])
            if definition is None:
                message = f"Cannot execute because node {node['class_type']} does not exist."
                return Verdict(error=refusal("invalid_prompt", message, f"Node ID '#{node_id}'"))
            if definition.output_node and (targets is None or node_id in targets):
                wanted.append(node_id)
        if not wanted:
            return Verdict(error=refusal("prompt_no_outputs", "Prompt has no outputs"))
        return self._judge(wanted)

    def _judge(self, wanted: list[str]) -> Verdict:
        good: list[str] = []
        node_errors: JsonObject = {}
        details: list[str] = []
        for output in wanted:
            try:
                fine = self._check(output)
            except Exception as error:
                fine = False
                self._found[output] = [_raised("exception_during_validation", "Exception when validating node", error)]
            if fine:
                good.append(output)
                continue
            details += [f"{one['message']}: {one['details']}" for one in self._found[output] or []]
            for node_id, errors in self._found.items():
                if errors:
                    entry = {"errors": errors, "dependent_outputs": [], "class_type": self._class_type(node_id)}
                    node_errors.setdefault(node_id, entry)["dependent_outputs"].append(output)
        if good:
            return Verdict(outputs=good, node_errors=node_errors)
        found = refusal("prompt_outputs_failed_validation", "Prompt outputs failed validation", "\n".join(details))
        return Verdict(error=found, node_errors=node_errors)

    def _class_type(self, node_id: Any) -> Any:
        return self._prompt[node_id]["class_type"]

    def _check(self, output: Any) -> bool:
        """Checks a node and everything above it, on a stack of its own: a chain of nodes may be long."""
        stack: list[Check] = [self._steps(output)]
        fine: bool | None = None
        raised: Exception | None = None
        while stack:
            try:
                source = stack[-1].send(fine) if raised is None else stack[-1].throw(raised)
                stack.append(self._steps(source))
                fine = raised = None
            except StopIteration as done:
                stack.pop()
                fine, raised = done.value, None
            except Exception as error:
                stack.pop()
                raised = error
        if raised is not None:
            raise raised
        return bool(fine)

    def _steps(self, node_id: Any) -> Check:
        """Checks one node; yields the id of each node above it that has to be checked first."""
        if node_id in self._found:
            return self._found[node_id] is None
        if node_id in self._path:
            return False
        self._path.add(node_id)
        try:
            inputs = self._prompt[node_id]["inputs"]
            definition = self._catalogue[self._class_type(node_id)]
            errors: list[JsonObject] = []
            sound = True
            for name in definition.inputs():
                if name not in inputs:
                    if name in definition.required:
                        errors.append(_problem("required_input_missing", "Required input is missing", name))
                elif isinstance(inputs[name], list):
                    sound &= yield from self._check_link(definition, name, inputs[name], errors)
                else:
                    self._check_literal(definition, name, inputs, errors)
            self._ask_node(definition, inputs, errors)
        finally:
            self._path.discard(node_id)
        self._found[node_id] = None if sound and not errors else errors
        return sound and not errors

    def _check_link(
        self,
        definition: NodeDefinition,
        name: str,
        value: list[Any],
        errors: list[JsonObject],
    ) -> Check:
        """Checks a link and the node it comes from. False when what is wrong lies above."""
        spec = self._config(definition, name)
        if len(value) != 2:
            message = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
            errors.append(_problem("bad_linked_input", message, name, input_config=spec, received_value=value))
            return True
        source = value[0]
        given = self._catalogue[self._class_type(source)].outputs[value[1]]
        if not _fits(given, spec[0]):
            message = "Return type mismatch between linked nodes"
            problem = _problem(
                "return_type_mismatch", message, name, input_config=spec, received_type=given, linked_node=value
            )
            problem["details"] = f"{name}, received_type({given}) mismatch input_type({spec[0]})"
            errors.append(problem)
            return True
        try:
            fine = yield source
            return bool(fine)
        except Exception as error:
            message = "Exception when validating inner node"
            problem = _raised("exception_during_inner_validation", message, error)
            about = problem["extra_info"]
            problem["extra_info"] = {
                "input_name": name,
                "input_config": spec,
                "exception_message": str(error),
                **about,
                "linked_node": value,
            }
            self._found[source] = [problem]
            return False

    def _check_literal(
        self, definition: NodeDefinition, name: str, inputs: JsonObject, errors: list[JsonObject]
    ) -> None:
        """Turns a literal into the input's type and checks its bounds."""
        spec = self._config(definition, name)
        value = inputs[name]
        if isinstance(value, dict) and "__value__" in value:
            value = inputs[name] = value["__value__"]
        convert = _CONVERSIONS.get(spec[0]) if isinstance(spec[0], str) else None
        if convert is not None:
            try:
                value = inputs[name] = convert(value)
            except Exception as error:
                message = f"Failed to convert an input value to a {spec[0]} value"
                problem = _problem("invalid_input_type", message, name, input_config=spec, received_value=value)
                problem["details"] = f"{name}, {value}, {error}"
                problem["extra_info"]["exception_message"] = str(error)
                errors.append(problem)
                return
        if name not in definition.validated_inputs:
            errors += _out_of_bounds(name, value, spec)
            if isinstance(spec[0], list) and value not in spec[0] and name not in definition.free_choices:
                errors.append(_not_in_list(name, value, spec))

    def _ask_node(self, definition: NodeDefinition, inputs: JsonObject, errors: list[JsonObject]) -> None:
        """The node's own check of its literals; each of them is blamed for what it finds."""
        if definition.validate is None:
            return
        asked = [name for name in definition.validated_inputs if name in inputs]
        values = {name: None if is_link(inputs[name]) else inputs[name] for name in asked}
        answer = definition.validate(self._folders, **values)
        if answer is True:
            return
        for name in asked:
            problem = _problem("custom_validation_failed", "Custom validation failed for node", name)
            problem["details"] = name if answer is False else f"{name} - {answer}"
            errors.append(problem)

    def _config(self, definition: NodeDefinition, name: str) -> list[Any]:
        spec = self._catalogue.spec(definition, name)
        return [spec[0], spec[1] if len(spec) > 1 else {}]


def _problem(kind: str, message: str, name: str, **about: Any) -> JsonObject:
    return {"type": kind, "message": message, "details": name, "extra_info": {"input_name": name, **about}}


def _raised(kind: str, message: str, error: Exception) -> JsonObject:
    about = {"exception_type": wire_type(error), "traceback": traceback.format_tb(error.__traceback__)}
    return {"type": kind, "message": message, "details": str(error), "extra_info": about}


def _out_of_bounds(name: str, value: Any, spec: list[Any]) -> list[JsonObject]:
    low, high = spec[1].get("min"), spec[1].get("max")
    if low is not None and value < low:
        kind, message = "value_smaller_than_min", f"Value {value} smaller than min of {low}"
    elif high is not None and value > high:
        kind, message = "value_bigger_than_max", f"Value {value} bigger than max of {high}"
    else:
        return []
    return [_problem(kind, message, name, input_config=spec, received_value=value)]


def _not_in_list(name: str, value: Any, spec: list[Any]) -> JsonObject:
    many = len(spec[0]) > LONGEST_SHOWN_LIST
    shown = f"(list of length {len(spec[0])})" if many else str(spec[0])
    config = None if many else spec
    problem = _problem("value_not_in_list", "Value not in list", name, input_config=config, received_value=value)
    problem["details"] = f"{name}: '{value}' not in {shown}"
    return problem


def _fits(given: Any, wanted: Any) -> bool:
    """Whether an output may feed an input: equal types, a shared type of a union, or `*` on either side."""
    if given == wanted or "*" in (given, wanted):
        return True
    if not isinstance(given, str) or not isinstance(wanted, str):
        return False
    return bool({one.strip() for one in given.split(",")} & {one.strip() for one in wanted.split(",")})
