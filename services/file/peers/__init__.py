"""The file room's doors outwards: the run room, and the event bus."""
