"""After an incident: what happened, in the order in which it did, out of the topics; and a page to think about it."""
