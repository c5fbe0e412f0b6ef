"""The `comfyfleet` command: what operators start, and what people at a terminal use."""
