"""Clients that others wrote, run in Node.js against the server under test."""
