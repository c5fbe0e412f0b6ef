"""The ways in which a node ends early."""


class InterruptedExecution(Exception):
    """The running prompt was interrupted; raised at a progress report or a node start, where it takes effect."""


class DependencyCycle(Exception):
    """The graph that grew while running cannot make progress."""


class MissingNode(Exception):
    """A link or an expansion names a node that is not in the graph."""


class UnusableInput(Exception):
    """A lazy node asked for an input that it does not have, or that is a literal."""


class DuplicateNode(Exception):
    """An expansion brought a node id that the graph already has."""


class OutOfMemory(RuntimeError):
    """A node ran out of memory. On the wire its type is the one that clients of the protocol look for."""

    wire_type = "torch.OutOfMemoryError"
    tip = "The stand-in pretends that its memory is full.\n\nTry a smaller batch_size."


class KnobFailure(RuntimeError):
    """A failure that a knob asked for."""


def wire_type(error: BaseException) -> str:
    """The `exception_type` of an error frame: the bare name of a builtin, the dotted path of any other type."""
    named = getattr(error, "wire_type", None)
    if isinstance(named, str):
        return named
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
