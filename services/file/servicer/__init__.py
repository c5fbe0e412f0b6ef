"""The file room's gRPC door."""
