"""The registry room: workflows of each team, their versions, and what a graph's parameters are."""
