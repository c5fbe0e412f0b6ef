# ruff: noqa: ARG002 - every route takes the request
"""The HTTP routes, each at `/x` and at `/api/x`."""

import asyncio
import json
import os
import platform
import sys
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from services.standin.call import Interrupt
from services.standin.catalogue import Catalogue
from services.standin.folders import Folders
from services.standin.frame import SERVER_FEATURES
from services.standin.history import History
from services.standin.knobs import KnobBoard
from services.standin.model.prompt import QueuedPrompt
from services.standin.models import MODEL_NAMES
from services.standin.origin import is_loopback
from services.standin.queue import PromptQueue
from services.standin.socket import Sockets
from services.standin.upload import RefusedUpload, Uploads
from services.standin.validation import Validation, refusal
from services.standin.view import view
from services.standin.worker import Worker

Route = Callable[[web.Request], Awaitable[web.StreamResponse]]
OutputOrder = Callable[[dict[str, Any], list[str]], list[str]]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the routes reach."""

    queue: PromptQueue
    history: History
    sockets: Sockets
    worker: Worker
    catalogue: Catalogue
    folders: Folders
    interrupt: Interrupt
    knobs: KnobBoard
    order_outputs: OutputOrder


class Routes:
    """ComfyUI's endpoints. A body that is no JSON, or not of the expected form, raises and becomes a 500."""

    def __init__(self, parts: Parts, *, knobs_by_post: bool) -> None:
        self._parts = parts
        self._uploads = Uploads(parts.folders)
        self._number = 0
        self._knobs_by_post = knobs_by_post

    def add_to(self, app: web.Application) -> None:
        """Registers every route; any other GET is a 404, any other method a 405."""
        gets: dict[str, Route] = {
            "/ws": self._parts.sockets.serve,
            "/prompt": self.get_prompt,
            "/queue": self.get_queue,
            "/history": self.get_history,
            "/history/{prompt_id}": self.get_history_entry,
            "/view": self.get_view,
            "/object_info": self.get_object_info,
            "/object_info/{class_type}": self.get_object_info,
            "/system_stats": self.get_system_stats,
            "/features": self.get_features,
            "/models": self.get_models,
            "/models/{folder}": self.get_models,
            "/embeddings": self.get_embeddings,
            "/extensions": self.get_extensions,
        }
        posts: dict[str, Route] = {
            "/prompt": self.post_prompt,
            "/queue": self.post_queue,
            "/interrupt": self.post_interrupt,
            "/history": self.post_history,
            "/free": self.post_free,
            "/upload/image": self.post_upload,
            "/upload/mask": self.post_upload,
        }
        if self._knobs_by_post:
            gets["/standin/knobs"] = self.get_knobs
            posts["/standin/knobs"] = self.post_knobs
        for prefix in ("", "/api"):
            for path, route in gets.items():
                app.router.add_get(prefix + path, route)
            for path, route in posts.items():
                app.router.add_post(prefix + path, route)
        app.router.add_get("/{path:.*}", self.get_unknown)

    async def get_unknown(self, request: web.Request) -> web.StreamResponse:
        """Any other path: the original looks for a file of its web pages here."""
        return web.Response(status=404, content_type="application/octet-stream")

    async def get_prompt(self, request: web.Request) -> web.StreamResponse:
        """How many prompts are running or pending."""
        return web.json_response({"exec_info": {"queue_remaining": self._parts.queue.remaining()}})

    async def post_prompt(self, request: web.Request) -> web.StreamResponse:
        """Validates and queues a prompt."""
        body = await request.json()
        if "number" in body:
            number = float(body["number"])
        else:
            number = -self._number if body_wants_front(body) else self._number
            self._number += 1
        if "prompt" not in body:
            error = refusal("no_prompt", "No prompt provided", "No prompt provided")
            return web.json_response({"error": error, "node_errors": {}}, status=400)
        prompt_id = str(body["prompt_id"]) if "prompt_id" in body else str(uuid.uuid4())
        parts = self._parts
        validation = Validation(body["prompt"], catalogue=parts.catalogue, folders=parts.folders)
        verdict = validation.verdict(body.get("partial_execution_targets"))
        extra_data = body.get("extra_data", {})
        if not isinstance(extra_data, dict):
            raise TypeError("extra_data has to be an object")
        if "client_id" in body:
            extra_data["client_id"] = body["client_id"]
        if verdict.error is not None:
            return web.json_response({"error": verdict.error, "node_errors": verdict.node_errors}, status=400)
        item = QueuedPrompt(
            number=number,
            prompt_id=prompt_id,
            prompt=body["prompt"],
            extra_data=extra_data,
            outputs=parts.order_outputs(body["prompt"], verdict.outputs),
        )
        parts.queue.put(item)
        return web.json_response({"prompt_id": prompt_id, "number": number, "node_errors": verdict.node_errors})

    async def get_queue(self, request: web.Request) -> web.StreamResponse:
        """Running and pending prompts of all clients."""
        return web.json_response(self._parts.queue.wire())

    async def post_queue(self, request: web.Request) -> web.StreamResponse:
        """Forgets pending prompts."""
        body = await request.json()
        if body.get("clear"):
            self._parts.queue.clear()
        if "delete" in body:
            for prompt_id in body["delete"]:
                self._parts.queue.delete(prompt_id)
        return web.Response()

    async def post_interrupt(self, request: web.Request) -> web.StreamResponse:
        """Stops what runs, or only the named prompt if that is what runs."""
        try:
            body = await request.json()
        except json.JSONDecodeError:
            body = {}
        prompt_id = body.get("prompt_id")
        if not prompt_id or self._parts.queue.is_running(prompt_id):
            self._parts.interrupt.set()
        return web.Response()

    async def get_history(self, request: web.Request) -> web.StreamResponse:
        """Entries, oldest first."""
        query = request.rel_url.query
        max_items = int(query["max_items"]) if "max_items" in query else None
        offset = int(query["offset"]) if "offset" in query else -1
        return web.json_response(self._parts.history.page(max_items=max_items, offset=offset))

    async def get_history_entry(self, request: web.Request) -> web.StreamResponse:
        """One entry, or `{}`."""
        return web.json_response(self._parts.history.entry(request.match_info["prompt_id"]))

    async def post_history(self, request: web.Request) -> web.StreamResponse:
        """Forgets entries."""
        body = await request.json()
        if body.get("clear"):
            self._parts.history.clear()
        if "delete" in body:
            self._parts.history.delete(body["delete"])
        return web.Response()

    async def post_free(self, request: web.Request) -> web.StreamResponse:
        """Empties the cache of results; there are no models to unload."""
        body = await request.json()
        if body.get("free_memory", False):
            self._parts.worker.forget_results()
        return web.Response()

    async def post_upload(self, request: web.Request) -> web.StreamResponse:
        """Keeps a picture, or a picture with the alpha of the sent mask."""
        form = await request.post()
        picture: Any = form.get("image")
        if not picture:
            return web.Response(status=400)
        mask: Any = form.get("original_ref", "null") if request.path.endswith("/mask") else None
        kind: Any = form.get("type")
        subfolder: Any = form.get("subfolder", "")
        try:
            stored = self._uploads.keep(
                source=picture.file,
                filename=picture.filename,
                subfolder=subfolder,
                kind=kind,
                overwrite=form.get("overwrite") in ("true", "1"),
                mask=mask,
            )
        except RefusedUpload:
            return web.Response(status=400)
        return web.json_response(stored)

    async def get_view(self, request: web.Request) -> web.StreamResponse:
        """A file, or a picture encoded anew."""
        shown = view(request.rel_url.query, self._parts.folders)
        headers = {"Content-Disposition": f'filename="{shown.name}"'}
        if shown.path is not None:
            return web.FileResponse(shown.path, headers={**headers, "Content-Type": shown.content_type})
        if shown.content is not None:
            return web.Response(body=shown.content, content_type=shown.content_type, headers=headers)
        return web.Response(status=shown.status)

    async def get_object_info(self, request: web.Request) -> web.StreamResponse:
        """Node definitions."""
        return web.json_response(self._parts.catalogue.object_info(request.match_info.get("class_type")))

    async def get_features(self, request: web.Request) -> web.StreamResponse:
        """What the server can do."""
        return web.json_response(SERVER_FEATURES)

    async def get_models(self, request: web.Request) -> web.StreamResponse:
        """Names of model folders, or of the files in one."""
        folder = request.match_info.get("folder")
        if folder is None:
            return web.json_response(list(MODEL_NAMES))
        return web.json_response(MODEL_NAMES[folder]) if folder in MODEL_NAMES else web.Response(status=404)

    async def get_embeddings(self, request: web.Request) -> web.StreamResponse:
        """Names of embeddings, without their endings."""
        return web.json_response([Path(name).stem for name in MODEL_NAMES["embeddings"]])

    async def get_extensions(self, request: web.Request) -> web.StreamResponse:
        """Scripts for the original's web pages, which the stand-in does not have."""
        return web.json_response([])

    async def get_system_stats(self, request: web.Request) -> web.StreamResponse:
        """The machine. Versions say `standin`, so that nobody takes this for the original."""
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES") if platform.system() == "Linux" else memory
        system = {
            "os": os.name,
            "ram_total": memory,
            "ram_free": free,
            "comfyui_version": "0.3.64-standin",
            "required_frontend_version": "standin",
            "installed_templates_version": "standin",
            "required_templates_version": "standin",
            "python_version": sys.version,
            "pytorch_version": "standin",
            "embedded_python": False,
            "argv": ["standin"],
        }
        device = {
            "name": "standin",
            "type": "cpu",
            "index": None,
            "vram_total": memory,
            "vram_free": free,
            "torch_vram_total": memory,
            "torch_vram_free": free,
        }
        return web.json_response({"system": system, "devices": [device]})

    async def get_knobs(self, request: web.Request) -> web.StreamResponse:
        """The knobs as they stand. Never held back or refused by a knob."""
        knobs = asdict(self._parts.knobs.now)
        return web.json_response({**knobs, "failing_classes": sorted(knobs["failing_classes"])})

    async def post_knobs(self, request: web.Request) -> web.StreamResponse:
        """Turns the knobs named in a JSON object; callers of other machines are refused."""
        if not is_loopback(request.remote or ""):
            return web.Response(status=403)
        try:
            self._parts.knobs.turn(**await request.json())
        except (ValueError, TypeError) as problem:
            return web.json_response({"error": str(problem)}, status=400)
        return await self.get_knobs(request)


def body_wants_front(body: dict[str, Any]) -> bool:
    """Whether the prompt asks to go before all others."""
    return "front" in body and bool(body["front"])


async def wait_out(knobs: KnobBoard) -> None:
    """Holds an answer back for as long as the knobs say."""
    if knobs.now.answer_latency:
        await asyncio.sleep(knobs.now.answer_latency)
    while knobs.now.stall_answers:  # noqa: ASYNC110 - both threads turn knobs
        await asyncio.sleep(0.02)
