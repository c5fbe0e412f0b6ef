"""What a file is and the rules it obeys; no I/O."""
