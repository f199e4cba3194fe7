"""Filters, phases, ripple and spectra, with NumPy and the standard library only."""
