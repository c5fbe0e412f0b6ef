"""The knobs of the stand-in: how slow, how broken and how mortal it is."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

ENVIRONMENT_PREFIX = "COMFYFLEET_STANDIN_"


@dataclass(frozen=True, kw_only=True)
class Knobs:
    """Every knob at rest is a faithful, fast server. Times in seconds."""

    answer_latency: float = 0.0
    """Added before every HTTP answer."""
    node_latency: float = 0.0
    """Added to the work of every node, but for nodes that run side by side."""
    step_seconds: float = 0.02
    """How long one sampling step takes."""
    loader_seconds: float = 0.0
    """How long loading a model takes."""
    stall_answers: bool = False
    """HTTP requests are accepted and get no answer until the knob is turned back."""
    stall_frames: bool = False
    """WebSocket frames are held back, in order, until the knob is turned back."""
    stall_execution: bool = False
    """No node starts until the knob is turned back."""
    failing_classes: frozenset[str] = frozenset()
    """Node classes that raise when they run."""
    fail_next_prompts: int = 0
    """So many prompts fail at their first node; counts down."""
    refuse_next_answers: int = 0
    """So many HTTP requests get a 500; counts down."""
    die_at_class: str = ""
    """The server dies, without a word, when a node of this class starts."""
    die_after_prompts: int = 0
    """The server dies when it has finished so many more prompts; counts down, 0 = never."""


def knobs_from(values: Mapping[str, Any], base: Knobs) -> Knobs:
    """`base` with the named knobs turned; texts are read as the knob's type. Raises ValueError."""
    known = {knob.name for knob in fields(Knobs)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ValueError(f"No such knob: {', '.join(unknown)}. Knobs: {', '.join(sorted(known))}")
    return replace(base, **{name: _setting(name, value, getattr(base, name)) for name, value in values.items()})


def knobs_from_environment(environment: Mapping[str, str]) -> Knobs:
    """Knobs from variables such as COMFYFLEET_STANDIN_STEP_SECONDS. Raises ValueError."""
    named = {knob.name: ENVIRONMENT_PREFIX + knob.name.upper() for knob in fields(Knobs)}
    return knobs_from({name: environment[key] for name, key in named.items() if key in environment}, Knobs())


def _setting(name: str, value: Any, current: Any) -> Any:
    match current:
        case bool():
            if isinstance(value, str) and value.lower() in {"1", "true", "on", "0", "false", "off"}:
                return value.lower() in {"1", "true", "on"}
            if isinstance(value, bool):
                return value
        case int() if isinstance(value, int | str) and not isinstance(value, bool) and int(value) >= 0:
            return int(value)
        case float() if isinstance(value, int | float | str) and not isinstance(value, bool):
            seconds = float(value)
            if 0 <= seconds < float("inf"):
                return seconds
        case frozenset():
            names = value.split(",") if isinstance(value, str) else value
            if isinstance(names, list | tuple | frozenset | set) and all(isinstance(one, str) for one in names):
                return frozenset(one for one in names if one)
        case str() if isinstance(value, str):
            return value
    raise ValueError(f"{value!r} does not suit the knob {name}")


class KnobBoard:
    """The knobs as they stand now, for both threads."""

    def __init__(self, knobs: Knobs) -> None:
        self._lock = threading.Lock()
        self._turned = threading.Condition(self._lock)
        self._knobs = knobs

    @property
    def now(self) -> Knobs:
        """The knobs as they stand."""
        return self._knobs

    def turn(self, **values: Any) -> Knobs:
        """Turns some knobs. Raises ValueError."""
        with self._turned:
            self._knobs = knobs_from(values, self._knobs)
            self._turned.notify_all()
            return self._knobs

    def count_down(self, name: str) -> int:
        """What a counting knob said before it was decreased; 0 stays 0."""
        if not getattr(self._knobs, name):
            return 0
        with self._turned:
            left: int = getattr(self._knobs, name)
            fewer: Any = {name: max(left - 1, 0)}
            self._knobs = replace(self._knobs, **fewer)
            return left

    def wait_until_execution_flows(self, stopped: threading.Event) -> None:
        """Blocks while execution is stalled; gives up when the server stops."""
        if not self._knobs.stall_execution:
            return
        with self._turned:
            while self._knobs.stall_execution and not stopped.is_set():
                self._turned.wait(timeout=0.05)
