"""Attacks on a running server, over real sockets; the numbers are those of docs/acceptance.md."""
