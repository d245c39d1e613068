"""The training loop, what it is given, and its losses."""
