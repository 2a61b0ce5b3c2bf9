"""A Git smart-HTTP reverse proxy that enforces personal access tokens."""

__version__ = "0.1.0"
