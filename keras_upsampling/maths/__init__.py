"""What is true on paper: NumPy and the standard library only."""
