"""The `comfyui` driver: HTTP for the truth, one WebSocket for hints."""
