"""Measurements against peers, as ratios in one run; see README.md in this folder."""
