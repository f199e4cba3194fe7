"""Upsampling and convolving in one step: several methods with one result, and their choice.

`task` checks what is asked. Every method is a record (`method`) with a file of its own: `resize`,
`phases`, `one_product`, `matrices` and `transposed`; `borders` is what some of them share. `work`
is the vocabulary in which they say what they cost, `rates.json` the seconds that takes on a
machine, and `choice` takes the cheapest. `docs/one_step.md` derives why all are the same.
"""
