"""The README's examples, word for word, against a running installation."""

import asyncio
import json
import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.journey.graphs import photo, picture_size
from tests.journey.installation import Installation

ROOT = Path(__file__).parents[2]
DEADLINE_SECONDS = 60


def examples(beginning: str) -> list[str]:
    """The README's commands that begin so, each with the lines that continue it."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.findall(rf"^{beginning}(?:[^\n]*\\\n)*[^\n]*$", text, re.MULTILINE)
    return [str(one) for one in found]


@pytest.fixture
def shell(fleet: Installation, tmp_path: Path) -> "Shell":
    """A shell in an empty folder with a photo and the repository's examples in it."""
    (tmp_path / "me.jpg").write_bytes(photo())
    (tmp_path / "services").symlink_to(ROOT / "services")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    known = {"KEY": fleet.key, "COMFYFLEET_URL": fleet.url, "COMFYFLEET_GRPC": fleet.grpc, "COMFYFLEET_KEY": fleet.key}
    return Shell(fleet, tmp_path, {**os.environ, **known, "PATH": path})


class Shell:
    """Runs commands as a reader of the README would, but for the port."""

    def __init__(self, fleet: Installation, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.environment = folder, environment
        self._address = fleet.url.removeprefix("http://")

    async def __call__(self, command: str) -> str:
        """Standard output of a command, which must end with 0."""
        process = await asyncio.create_subprocess_exec(
            *("sh", "-c", command.replace("localhost:8080", self._address)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=self.folder,
            env=self.environment,
        )
        async with asyncio.timeout(DEADLINE_SECONDS):
            output, notices = await process.communicate()
        assert process.returncode == 0, (command, notices.decode())
        return output.decode()


async def push(shell: Shell) -> None:
    """Stores the README's two workflows."""
    pushes = examples("comfyfleet workflow push")
    assert len(pushes) == 2
    for command in pushes:
        await shell(command)


async def test_commands_of_the_readme_work_as_written(shell: Shell) -> None:
    await push(shell)
    (run,) = examples("comfyfleet run ")
    saved = (await shell(run)).split()
    assert [picture_size((shell.folder / path).read_bytes()) for path in saved] == [(96, 64)]
    assert list((shell.folder / "previews").iterdir())
    for command in examples("comfyfleet runs "):
        await shell(command)


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
async def test_requests_of_the_readme_work_as_written(shell: Shell) -> None:
    await push(shell)
    watch, form, download = examples("curl ")
    stream = await shell(watch)
    assert '"state":"SUCCEEDED"' in stream
    assert re.search("^id: ?[0-9]+$", stream, re.MULTILINE)
    run = json.loads(await shell(form))
    assert run["state"] == "SUCCEEDED", run
    shell.environment["RUN"] = run["id"]
    await shell(download)
    (picture,) = shell.folder.glob("portrait*.png")
    assert picture_size(picture.read_bytes()) == (96, 64)
