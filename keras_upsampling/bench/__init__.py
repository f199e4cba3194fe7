"""The benchmark: times this library and its alternatives side by side in one run.

A case is one upsampling of one feature map (`cases`). Several contenders compute it
(`contenders`). Each is compiled as its backend does it (`programs`), and all contenders of a case
run in turn (`timing`). Tables show the results (`report`).
"""
