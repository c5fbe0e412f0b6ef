"""Rows of `run` as records and back."""

from datetime import timedelta
from typing import Any

from services.run.model.error import RunError
from services.run.model.run import Run, TagMatch
from services.run.model.state import RunState


def run_of(values: dict[str, Any]) -> Run:
    """The record of a whole row of `run`, which is taken apart."""
    values["state"] = RunState(values["state"])
    values["timeout"] = timedelta(milliseconds=values.pop("timeout_ms"))
    del values["precedence"]
    values["error"] = RunError.from_json(values["error"]) if values["error"] else None
    values["tags"] = tuple(values["tags"])
    values["tag_match"] = TagMatch(values["tag_match"])
    values["input_file_ids"] = tuple(values["input_file_ids"])
    return Run(**values)


def row_of(run: Run) -> dict[str, Any]:
    """The whole row of a record."""
    values = {name: getattr(run, name) for name in Run.__slots__}
    values["state"] = run.state.value
    values["timeout_ms"] = round(values.pop("timeout") / timedelta(milliseconds=1))
    values["precedence"] = -run.priority
    values["error"] = run.error.to_json() if run.error else None
    values["labels"] = dict(run.labels)
    values["tags"] = list(run.tags)
    values["tag_match"] = run.tag_match.value
    values["input_file_ids"] = list(run.input_file_ids)
    return values
