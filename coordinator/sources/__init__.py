"""Sources of history that are shipped; see `coordinator.source` for what a source is."""
