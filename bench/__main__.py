"""`python -m bench`: overhead, upload, watch."""

import asyncio
from typing import Annotated

import typer

from bench import overhead as overhead_bench
from bench import upload as upload_bench
from bench import watch as watch_bench

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help="Measure; every figure is printed.")

ComfyUI = Annotated[str, typer.Option("--comfyui", help="Address of a ComfyUI. Default: the stand-in backend.")]


@app.command("overhead")
def overhead(comfyui: ComfyUI = "", rounds: int = 100, burst: int = 200) -> None:
    """One trivial run after another, and a burst, directly and through the fleet, interleaved."""
    asyncio.run(overhead_bench.measure(comfyui=comfyui, rounds=rounds, burst=burst))


@app.command("upload")
def upload(size_mib: int = 2048) -> None:
    """A large upload through the gateway, beside the same through a bare file room."""
    asyncio.run(upload_bench.measure(size_bytes=size_mib * 1024 * 1024))


@app.command("watch")
def watch(watchers: int = 50, steps: int = 40) -> None:
    """Many watchers of one run: how late each sees its end."""
    asyncio.run(watch_bench.measure(watchers=watchers, steps=steps))


app()
