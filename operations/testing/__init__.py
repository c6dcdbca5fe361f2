"""For tests of what is built on Seamless: a real stack, a world per test, and faults; see docs/testing.md.

`plugin` is loaded by pytest itself and loads the rest when a fixture is asked for.
"""
