"""The order and the bookkeeping of pending prompts."""

from typing import Any

import pytest

from services.standin.history import History
from services.standin.model.prompt import Outcome, QueuedPrompt, history_entry
from services.standin.queue import PromptQueue, TiedPrompts


def prompt(number: float, prompt_id: str, **extra_data: Any) -> QueuedPrompt:
    """A prompt of no importance."""
    return QueuedPrompt(number=number, prompt_id=prompt_id, prompt={}, extra_data=extra_data, outputs=[])


def taken(queue: PromptQueue) -> str:
    """The id of the next prompt."""
    item = queue.take()
    assert item is not None
    queue.finish(lambda: None)
    return item.prompt_id


def test_smallest_number_runs_first_then_the_id_decides() -> None:
    """Numbers may be negative or fractions."""
    queue = PromptQueue(changed=lambda _: None)
    for number, prompt_id in ((3, "c"), (0.5, "b"), (-7, "a"), (3, "bb")):
        queue.put(prompt(number, prompt_id))
    assert [taken(queue) for _ in range(4)] == ["a", "b", "bb", "c"]


def test_tied_prompts_are_queued_although_the_post_fails() -> None:
    """As recorded: the second of two equal keys is an error for its caller, and runs."""
    told: list[int] = []
    queue = PromptQueue(changed=told.append)
    queue.put(prompt(1, "same"))
    with pytest.raises(TiedPrompts):
        queue.put(prompt(1, "same"))
    assert queue.remaining() == 2
    assert told == [1]
    assert [taken(queue), taken(queue)] == ["same", "same"]


def test_running_prompt_is_neither_deleted_nor_cleared() -> None:
    """Only what is pending can be taken back."""
    queue = PromptQueue(changed=lambda _: None)
    for number in range(3):
        queue.put(prompt(number, f"p{number}"))
    assert queue.take() is not None
    queue.delete("p0")
    queue.delete("p1")
    assert queue.remaining() == 2
    assert queue.is_running("p0")
    queue.clear()
    assert queue.remaining() == 1


def test_delete_takes_one_for_each_mention() -> None:
    """Two pending prompts may share an id."""
    queue = PromptQueue(changed=lambda _: None)
    for number in range(2):
        queue.put(prompt(number, "twin"))
    queue.delete("twin")
    assert queue.remaining() == 1


def test_closed_queue_lets_the_worker_go() -> None:
    """Pending prompts are not taken any more."""
    queue = PromptQueue(changed=lambda _: None)
    queue.put(prompt(1, "left"))
    queue.close()
    assert queue.take() is None


def outcome(*, success: bool = True) -> Outcome:
    """An end without outputs."""
    return Outcome(success=success, messages=[], outputs={}, meta={})


def test_history_never_shows_keys_of_callers() -> None:
    """Two entries of extra_data are secrets."""
    entry = history_entry(prompt(1, "a", api_key_comfy_org="k", auth_token_comfy_org="t", kept=1), outcome())
    assert entry["prompt"][3] == {"kept": 1}


@pytest.mark.parametrize(
    ("max_items", "offset", "expected"),
    [
        (None, -1, ["0", "1", "2", "3"]),
        (2, -1, ["2", "3"]),
        (2, 0, ["0", "1"]),
        (1, 1, ["1"]),
        (0, -1, []),
        (-1, -1, []),
        (None, 3, ["3"]),
        (10, 9, []),
    ],
)
def test_history_pages(max_items: int | None, offset: int, expected: list[str]) -> None:
    """max_items takes the latest, an offset counts from the oldest."""
    history = History()
    for number in range(4):
        history.record(str(number), history_entry(prompt(number, str(number)), outcome()))
    assert list(history.page(max_items=max_items, offset=offset)) == expected


def test_history_entry_of_a_reused_id_is_replaced() -> None:
    """The later prompt counts."""
    history = History()
    history.record("a", history_entry(prompt(1, "a"), outcome()))
    history.record("a", history_entry(prompt(2, "a"), outcome(success=False)))
    assert history.entry("a")["a"]["status"]["status_str"] == "error"
    history.delete(["a", "unknown"])
    assert history.entry("a") == {}
