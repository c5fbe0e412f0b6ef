"""Keeps the processes of one machine's installation alive, and ends them together."""
