"""The contracts that the parts of Tugboat share as data, and the generators of everything derived from them."""
