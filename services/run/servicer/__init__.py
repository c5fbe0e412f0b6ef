"""The gRPC door of the run room."""
