"""The outbound door to the run room: its state stream and the two streams beside it."""
