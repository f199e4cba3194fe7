"""Layers: `__init__` checks and stores, `build` makes weights, `call` hands over to one op."""
