"""What the commands `score` and `merge` are made of."""
