"""What the registry knows, without any I/O."""
