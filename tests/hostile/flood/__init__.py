"""Floods: a server, honest clients beside the attack, and the attack, each in a process of its own."""
