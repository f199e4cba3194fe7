"""The tensor part of the checkerboard score.

Images become maps of shares of the range (`whitening`), their spectra are summed at the harmonics
of the pattern and around them (`powers`), and the ratios make a score (`score`, `chance`).
"""
