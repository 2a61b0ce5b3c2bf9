"""Listening sockets, TLS, worker processes, signals, and a clean end. Knows nothing of Git."""
