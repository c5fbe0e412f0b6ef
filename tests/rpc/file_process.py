"""A file room in a process of its own, which a test kills: `python -m tests.rpc.file_process STATE`.

It prints its address once it serves, and ends with its standard input.
"""

import asyncio
import sys
from pathlib import Path

from services.common.logging import configure_logging
from tests.rpc.file_rig import open_file_rig


async def main(state: Path) -> None:
    """Serve until standard input ends."""
    async with open_file_rig(state) as rig:
        sys.stdout.write(f"{rig.address}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    configure_logging(member="file", to=sys.stderr)
    asyncio.run(main(Path(sys.argv[1])))
