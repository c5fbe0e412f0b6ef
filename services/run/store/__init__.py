"""Rows of the run room, and the synchronous units of work over them."""
