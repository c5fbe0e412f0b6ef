"""How far an execution is."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A moment of an executing graph; the parts that the backend did not say are empty or 0."""

    fraction: float
    """Share of the graph that is done, 0 to 1; never falls within one execution."""
    node_id: str = ""
    node_class: str = ""
    node_value: float = 0.0
    """Steps of that node that are done."""
    node_maximum: float = 0.0
    """Steps that the node has; 0: it does not say."""
    nodes_done: int = 0
    """Nodes that are done, cached ones too."""
    nodes_total: int = 0
    text: str = ""
    elapsed: timedelta = timedelta(0)
    """Since the backend began the execution."""
