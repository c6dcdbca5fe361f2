"""The archive: every row of every dataset in Delta tables, exactly once, and how it is read, kept and proven."""
