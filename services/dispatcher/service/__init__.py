"""Makes what is desired true: which execution goes where, when it enters a backend, and what is reported."""
