"""Use cases of the run room."""
