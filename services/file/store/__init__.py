"""Rows of the file room. Every unit of work is one synchronous function over a session."""
