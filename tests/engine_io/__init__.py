"""The engine.io transformer: its codec, its sessions, and what npm's engine.io says to the same requests."""
