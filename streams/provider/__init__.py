"""The provider: one series out of history and live rows, within promised times."""
