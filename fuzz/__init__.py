"""Fuzz targets for everything that reads what a peer, or a user, has written.

A target is a function that takes any bytes at all and raises when an invariant does not hold: only documented
exceptions come out, the same bytes give the same events however they were split, what was encoded decodes to itself,
other implementations read the same, and nothing is left behind. The tests run each of them for a moment
(``tests/test_fuzz.py``); ``python -m nox -s fuzz -- --seconds 60`` lets atheris look for new inputs for longer.
"""
