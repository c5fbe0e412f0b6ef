"""Why `POST /prompt` was refused, and whether another backend may take the graph (A11). Pure."""

from typing import Any

from services.dispatcher.drivers.comfyui.failure import storable
from services.dispatcher.model.ending import Ending, Failure, Outcome

_ELSEWHERE = frozenset({"value_not_in_list", "custom_validation_failed"})
_MAX_MESSAGE_CHARACTERS = 4096
_MAX_MISSING = 64

Json = dict[str, Any]


def ending_of_refusal(status: int, answer: Json, *, graph: Json, known_classes: frozenset[str]) -> Ending:
    """The ending for a refusal: INVALID where the graph is at fault, REJECTED_HERE where this backend may be.

    `known_classes` are the backend's own; empty: not known.
    """
    if status == 413:
        return _rejected("GRAPH_TOO_LARGE", "The backend does not take a request of this size.", [])
    if status in (401, 403):
        return _rejected("BACKEND_FORBIDS", f"The backend answered {status} to the prompt.", [])
    error = answer.get("error")
    error = error if isinstance(error, dict) else {}
    kind = error.get("type")
    node_errors = answer.get("node_errors")
    node_errors = node_errors if isinstance(node_errors, dict) else {}
    if kind == "invalid_prompt":
        return _of_classes(error, graph, known_classes)
    if node_errors:
        return _of_nodes(node_errors)
    return _invalid(_sentence(error) or f"The backend refused the graph with status {status}.")


def _of_classes(error: Json, graph: Json, known_classes: frozenset[str]) -> Ending:
    """A class that is missing here may be installed elsewhere; a node without any class is nobody's."""
    classes = [node.get("class_type") if isinstance(node, dict) else None for node in graph.values()]
    if not all(isinstance(name, str) and name for name in classes):
        return _invalid(_sentence(error))
    message = str(error.get("message", ""))
    missing = sorted({name for name in classes if isinstance(name, str) and name not in known_classes})
    if not known_classes or not missing:
        # The catalogue is not at hand, or older than the refusal: the message names the class.
        missing = sorted({name for name in classes if isinstance(name, str) and f" {name} " in message})
    if not missing:
        return _invalid(_sentence(error))
    return _rejected("NODE_CLASS_MISSING", f"The backend lacks: {', '.join(missing[:8])}.", missing)


def _of_nodes(node_errors: Json) -> Ending:
    missing: list[str] = []
    first: Failure | None = None
    elsewhere = True
    for node_id, told in node_errors.items():
        node_class = told.get("class_type") if isinstance(told, dict) else None
        errors = told.get("errors") if isinstance(told, dict) else None
        for error in errors if isinstance(errors, list) else []:
            if not isinstance(error, dict):
                continue
            here = error.get("type") not in _ELSEWHERE
            elsewhere = elsewhere and not here
            missing.append(_missing(error, str(node_class)))
            if first is None or (here and first.code == "ELSEWHERE"):
                first = Failure(
                    code="HERE" if here else "ELSEWHERE",
                    message=_sentence(error),
                    node_id=storable(str(node_id))[:256],
                    node_class=storable(str(node_class or ""))[:256],
                )
    if first is None:
        return _invalid("The backend refused the graph and named no reason.")
    if elsewhere:
        return _rejected("VALUE_NOT_HERE", first.message, missing, at=first)
    return _invalid(first.message, at=first)


def _missing(error: Json, node_class: str) -> str:
    """Name of what is missing: the value itself where it is text (a model's file name), else class and input."""
    extra = error.get("extra_info")
    extra = extra if isinstance(extra, dict) else {}
    value = extra.get("received_value")
    if error.get("type") == "value_not_in_list" and isinstance(value, str):
        return storable(value)[:512]
    return storable(f"{node_class}.{extra.get('input_name', '')}")[:512]


def _sentence(error: Json) -> str:
    message, details = error.get("message"), error.get("details")
    parts = [part.strip() for part in (message, details) if isinstance(part, str) and part.strip()]
    return storable(": ".join(parts))[:_MAX_MESSAGE_CHARACTERS]


def _invalid(message: str, *, at: Failure | None = None) -> Ending:
    return Ending(outcome=Outcome.INVALID, failure=_failure("GRAPH_REFUSED", message, at, retryable=False))


def _rejected(code: str, message: str, missing: list[str], *, at: Failure | None = None) -> Ending:
    return Ending(
        outcome=Outcome.REJECTED_HERE,
        failure=_failure(code, message, at, retryable=True),
        missing_capabilities=tuple(sorted({storable(name) for name in missing})[:_MAX_MISSING]),
    )


def _failure(code: str, message: str, at: Failure | None, *, retryable: bool) -> Failure:
    return Failure(
        code=code,
        message=message or "The backend refused the graph.",
        node_id=at.node_id if at else "",
        node_class=at.node_class if at else "",
        retryable=retryable,
    )
