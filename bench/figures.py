"""Percentiles and rows of a report."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Durations of one way of doing a thing, in seconds."""

    name: str
    seconds: Sequence[float]

    def percentile(self, share: float) -> float:
        """The duration that `share` of all do not exceed, nearest rank."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def write_table(title: str, reference: Figures, others: Sequence[Figures]) -> None:
    """Prints p50 and p95 of each, and their ratios to the reference."""
    print(f"\n{title}")
    print(f"{'':<22}{'p50 ms':>9}{'p95 ms':>9}{'p50 ratio':>11}{'p95 ratio':>11}")
    for figures in (reference, *others):
        p50, p95 = figures.percentile(0.5), figures.percentile(0.95)
        ratios = f"{p50 / reference.percentile(0.5):>10.2f}x{p95 / reference.percentile(0.95):>10.2f}x"
        print(f"{figures.name:<22}{p50 * 1000:>9.1f}{p95 * 1000:>9.1f}{ratios}")
