"""The operations that a response spends its time on: one interface, in numpy (the reference) and compiled from C.

No other package calls compiled code. `compile.py` runs where a model is written, the rest wherever one is read.
"""
