"""What several tests need: worlds with topics and schemas, processes that end with the test, rows, and oracles."""
