"""Upsampling and convolution in one step: five methods with the same result, and their choice.

A `Task` holds the checked arguments. A `Method` is a record of functions: they run the method, say
whether it supports a task, and count its work. `convolutions` and `products` define two methods
each, `transposed` one; `borders` has what three of them share, and `methods` is the table of all.
`rates.json` has measured seconds per unit of work, and `rate_file` reads those that were tuned on
this machine. `known_rates` says which are in use, and `choice` returns the methods with the lowest
estimated time.
"""
