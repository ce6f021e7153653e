"""Claims of the chapter on the Gram matrix."""

import numpy as np

from fl.claims.engine import Evidence, claim


@claim("gram.demo", statement="x", source="paper YN25", control="y")
def demo(scale, broken):
    """Demo."""
    return Evidence(0, np.float64(1e-12) + broken, 1e-9, "rounding", sizes={"N": 3})
