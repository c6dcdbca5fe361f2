"""What operators do to a running system: overrides, rollbacks, their undoing, deploys; and who follows it."""
