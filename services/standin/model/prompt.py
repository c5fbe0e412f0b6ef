"""A queued prompt and what the history keeps of it."""

from dataclasses import dataclass
from typing import Any

from services.standin.model.value import JsonObject

SENSITIVE_EXTRA_DATA = ("auth_token_comfy_org", "api_key_comfy_org")
"""Keys of extra_data that the history never shows."""


@dataclass(frozen=True, kw_only=True)
class QueuedPrompt:
    """One accepted prompt. Order: number, then the text of the id."""

    number: float
    prompt_id: str
    prompt: JsonObject
    extra_data: JsonObject
    outputs: list[str]

    def sort_key(self) -> tuple[float, str]:
        """What decides who runs first; two equal keys cannot be told apart."""
        return (self.number, self.prompt_id)

    def wire(self) -> list[Any]:
        """The item as `/queue` and the history show it."""
        return [self.number, self.prompt_id, self.prompt, self.extra_data, self.outputs]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How an execution ended."""

    success: bool
    messages: list[tuple[str, JsonObject]]
    outputs: JsonObject
    meta: JsonObject


def history_entry(item: QueuedPrompt, outcome: Outcome) -> JsonObject:
    """The entry as `/history` shows it, without sensitive extra_data."""
    extra_data = {key: value for key, value in item.extra_data.items() if key not in SENSITIVE_EXTRA_DATA}
    return {
        "prompt": [item.number, item.prompt_id, item.prompt, extra_data, item.outputs],
        "outputs": outcome.outputs,
        "status": {
            "status_str": "success" if outcome.success else "error",
            "completed": outcome.success,
            "messages": [list(message) for message in outcome.messages],
        },
        "meta": outcome.meta,
    }
