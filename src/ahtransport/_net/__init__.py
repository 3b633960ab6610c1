"""The embedded host: from sockets to requests and WebSockets."""
