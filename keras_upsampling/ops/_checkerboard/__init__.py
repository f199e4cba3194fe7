"""The tensor part of the checkerboard score.

Images are high-passed, divided by their range and weighted (`whitening`). Their power is summed at
the harmonics of the pattern and around them (`powers`). The ratios of these sums are the score
(`score`, `chance`).
"""
