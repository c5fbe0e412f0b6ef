"""The OpenAPI document: what FastAPI cannot see in routes that read and write bytes."""
