"""Node catalogues: taken once under their hash, given to teams whose runners have them."""

import asyncio
import gzip
import json
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

from services.common.clock import Clock
from services.common.errors import InvalidArgument, NotFound, Violation
from services.common.sql import Database
from services.run.model.runner import Owner
from services.run.service.fleet import Fleet
from services.run.store.catalogue import catalogue_body, has_catalogue, insert_catalogue, may_upload

MAX_CATALOGUE_BYTES = 64 * 1024 * 1024
MODEL_SUFFIXES = (".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".bin", ".gguf", ".onnx")
_LEVEL = 5


class Catalogues:
    """The use cases of node catalogues."""

    def __init__(self, *, database: Database, fleet: Fleet, came: Callable[[], None], clock: Clock) -> None:
        self._database = database
        self._fleet = fleet
        self._came = came
        self._clock = clock

    async def expect(self, owner: Owner, catalogue_hash: str) -> bool:
        """Whether the bytes are needed: False if they are here. NotFound if no runner of the owner reported it."""

        def read(session: Any) -> tuple[bool, bool]:
            return may_upload(session, owner, catalogue_hash), has_catalogue(session, catalogue_hash)

        may, has = await self._database.read(read)
        if not may:
            raise NotFound("No runner of this dispatcher has reported that hash.", reason="CATALOGUE_NOT_REPORTED")
        return not has

    async def store(self, owner: Owner, catalogue_hash: str, body: bytes) -> None:
        """Keep a catalogue. InvalidArgument if the bytes do not have that hash or are no JSON object."""
        packed, node_classes, model_names = await asyncio.to_thread(_examine, catalogue_hash, body)
        now = self._clock.now()
        await self._database.write(
            lambda session: insert_catalogue(
                session,
                catalogue_hash,
                packed,
                node_classes=node_classes,
                model_names=model_names,
                owner=owner,
                now=now,
            )
        )
        await self._fleet.refresh(self._database)
        self._came()

    async def read(self, catalogue_hash: str, *, team_id: str | None) -> bytes:
        """The JSON text, for a team (None: any) that a runner with it may serve. NotFound."""
        packed = await self._database.read(lambda session: catalogue_body(session, catalogue_hash, team_id=team_id))
        if packed is None:
            raise NotFound("No runner of yours has a catalogue of that hash.", reason="CATALOGUE_NOT_FOUND")
        return await asyncio.to_thread(gzip.decompress, packed)


def too_large() -> InvalidArgument:
    """The error of a catalogue above the limit."""
    return _wrong("TOO_LARGE", f"A catalogue has at most {MAX_CATALOGUE_BYTES} bytes.")


def _examine(catalogue_hash: str, body: bytes) -> tuple[bytes, list[str], list[str]]:
    if sha256(body).hexdigest() != catalogue_hash:
        raise _wrong("HASH_MISMATCH", "The bytes must have the SHA-256 that was announced.")
    try:
        # Not our strict parser: real catalogues hold integers beyond 64 bits, which nobody here computes with.
        catalogue = json.loads(body)
    except (ValueError, RecursionError):
        raise _wrong("NOT_JSON", "The bytes must be JSON.") from None
    if not isinstance(catalogue, dict):
        raise _wrong("NOT_AN_OBJECT", "The JSON must be an object: node classes by name.")
    node_classes = sorted(name for name in catalogue if _is_text(name))
    models = sorted({name for name in _model_names(catalogue) if _is_text(name)})
    return gzip.compress(body, _LEVEL, mtime=0), node_classes, models


def _model_names(catalogue: dict[str, Any]) -> Iterator[str]:
    """Names of model files among the choices of inputs."""
    for node in catalogue.values():
        inputs = node.get("input") if isinstance(node, dict) else None
        if not isinstance(inputs, dict):
            continue
        for group in inputs.values():
            for definition in group.values() if isinstance(group, dict) else ():
                yield from _choices(definition)


def _choices(definition: Any) -> Iterator[str]:
    """Model files among the choices of one input: `[[names…], …]`, or since 0.3.5x `["COMBO", {"options": […]}]`."""
    if not isinstance(definition, list) or not definition:
        return
    choices = definition[0]
    if choices == "COMBO" and len(definition) > 1 and isinstance(definition[1], dict):
        choices = definition[1].get("options")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, str) and choice.lower().endswith(MODEL_SUFFIXES):
            yield choice


def _is_text(name: str) -> bool:
    """Whether both databases can store it."""
    return "\x00" not in name and name.isprintable()


def _wrong(reason: str, message: str) -> InvalidArgument:
    return InvalidArgument(violations=[Violation("chunk", reason, message)])
