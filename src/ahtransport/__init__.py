"""ahtransport: a realtime server on trio that lets you choose the transport with one option."""
