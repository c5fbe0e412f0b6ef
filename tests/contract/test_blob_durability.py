"""That a blob is on the disk before anybody is told so, as the kernel sees it."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import asyncio, os, sys
from pathlib import Path
from services.file.blobs.local import open_local_blobs

async def main():
    async with open_local_blobs(Path(sys.argv[1])) as blobs, blobs.incoming() as blob:
        await blob.append([b"x" * 100_000])
        await blob.finish()
        await blob.keep()
        os.write(1, b"acknowledged")
        os._exit(0)

asyncio.run(main())
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_file_and_folders_are_flushed_before_the_acknowledgement(tmp_path: Path) -> None:
    log, root = tmp_path / "log", tmp_path / "blobs"
    traced = "trace=fsync,fdatasync,rename,renameat,renameat2,mkdir,mkdirat,write"
    command = ["strace", "-f", "-y", "-e", traced, "-o", str(log), sys.executable, "-c", PROGRAM, str(root)]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True, timeout=60)
    text = re.sub(r"^\d+ +", "", log.read_text(), flags=re.MULTILINE)
    found = [line for line in text.splitlines() if str(root) in line or "acknowledged" in line]
    steps = [step for step in (step_of(line, root) for line in found) if step]
    assert steps[:1] == ["flush root"]  # at the opening
    assert steps[1:] == ["write file", "flush file", "make shard", "flush root", "rename", "flush shard", "acknowledge"]


def step_of(line: str, root: Path) -> str | None:
    """What a system call means for the blob; None: nothing."""
    incoming, shard = f"{root}/incoming/[^/]+/[^/.]+", f"{root}/[0-9a-f]{{2}}"
    meanings = (
        (rf"write\(\d+<{incoming}>", "write file"),
        (rf"fsync\(\d+<{incoming}>", "flush file"),
        (rf'mkdir(at)?\(.*"{shard}"', "make shard"),
        (rf"fsync\(\d+<{root}>", "flush root"),
        (rf'rename(at|at2)?\(.*"{incoming}".*"{shard}/', "rename"),
        (rf"fsync\(\d+<{shard}>", "flush shard"),
        (r'write\(1<.*"acknowledged"', "acknowledge"),
    )
    return next((meaning for pattern, meaning in meanings if re.match(pattern, line)), None)
