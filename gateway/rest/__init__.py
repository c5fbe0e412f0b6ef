"""Native REST: one file for the routes of each resource, beside the converters of its messages."""
