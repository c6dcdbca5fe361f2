"""What becomes of observations: windows in event time, judged against objectives, and the breaches that follow."""
