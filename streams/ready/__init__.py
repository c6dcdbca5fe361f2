"""Whether a system is as it was meant to be when it was planned: the definition of done, checked live."""
