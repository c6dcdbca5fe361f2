"""The demo: real market data with faults put in goes through the whole pipeline, and every count is checked."""
