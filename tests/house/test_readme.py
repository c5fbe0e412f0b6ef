"""What the README says is what there is."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_readme_opens_with_exactly_two_commands() -> None:
    first_block = README.split("```")[1]
    commands = [line.split("#")[0].strip() for line in first_block.splitlines()[1:] if line.strip()]
    assert commands == ["./dev demo", "./dev test"]


def test_every_command_in_the_readme_exists() -> None:
    commands = set(re.findall(r"comfyfleet ((?:workflow|runs|file|key|runner) \w+|[a-z]+)", README))
    assert commands
    for command in commands - {"serve", "up"}:
        answer = subprocess.run(["comfyfleet", *command.split(), "--help"], capture_output=True, text=True, check=False)
        assert answer.returncode == 0, (command, answer.stderr)


def test_every_linked_file_exists() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert target.startswith("http") or (ROOT / target).exists(), target
