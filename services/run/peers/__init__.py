"""The outbound doors of the run room: registry, file room, and the facts it publishes."""
