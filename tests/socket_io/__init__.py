"""The Socket.IO transformer."""
