"""Keys of discovered parameters and outputs: readable, unique, and the same in whatever order a graph is written.

A literal is called `<title>.<input>`, an output `<title>`: the node's title as a slug (`positive-prompt.text`). Where
titles of several nodes give the same slug, each gets its node id as well (`clip-text-encode-6.text`); a key that is
still taken, or too long, ends in a hash of its place instead. Placeholders keep the name that they were given.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Sequence

from services.common.graph import Graph, node_title

MAX_KEY_CHARACTERS = 128
MAX_TITLE_CHARACTERS = 64
_HASH_CHARACTERS = 10


def title_slugs(graph: Graph) -> dict[str, str]:
    """A name for each node, unique unless titles imitate it."""
    slugs = {node_id: _slug(node_title(node)) or _slug(node["class_type"]) or "node" for node_id, node in graph.items()}
    counts = Counter(slugs.values())
    return {node_id: slug if counts[slug] == 1 else f"{slug}-{node_id}" for node_id, slug in slugs.items()}


def unique_keys(wanted: Sequence[tuple[str, str]], taken: Collection[str]) -> list[str]:
    """One key for each (wish, place): the wish if it fits and nobody else has it."""
    wanted = [("".join(c if c.isprintable() else "_" for c in wish), place) for wish, place in wanted]
    counts = Counter(wish for wish, _ in wanted)
    keys: list[str] = []
    for wish, place in wanted:
        if len(wish) > MAX_KEY_CHARACTERS or counts[wish] > 1 or wish in taken:
            digest = hashlib.sha256(place.encode()).hexdigest()[:_HASH_CHARACTERS]
            wish = f"{wish[: MAX_KEY_CHARACTERS - _HASH_CHARACTERS - 1]}-{digest}"
        keys.append(wish)
    return keys


def _slug(text: str) -> str:
    """`text` in lower case, everything but letters and digits (of any script) as single hyphens."""
    words = "".join(letter if letter.isalnum() else " " for letter in text.lower()).split()
    return "-".join(words)[:MAX_TITLE_CHARACTERS].rstrip("-")
