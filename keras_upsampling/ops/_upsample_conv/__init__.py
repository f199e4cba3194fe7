"""Upsampling and convolving in one step: several methods with one result, and their choice.

A `task` says what is asked. A `method` is a record that says what it can do and what that costs:
two by `convolutions`, two by `products`, and `transposed`; `borders` is what some of them share.
`rates.json` has the seconds that work takes on a machine, and `choice` takes the least.
"""
