"""Rooms that the dispatcher calls."""
