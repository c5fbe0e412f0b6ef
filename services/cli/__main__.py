"""`python -m services.cli`: the `comfyfleet` command where its script is not on the PATH."""

from services.cli.main import main

main()
