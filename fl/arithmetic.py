"""Sums in one order wherever an array lies in memory.

The package loads this first. The products of torch add up in an order that depends on the
addresses of their factors, in the last bit, unless their library (MKL) is told before its
first call not to; that costs no time.
"""

import os

os.environ.setdefault("MKL_CBWR", "AUTO")
