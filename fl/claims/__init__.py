"""Claims by topic: statement, study against theory, tolerance, control.

The names below are what a reader needs for a claim of their own.
"""

from fl.evidence import CLAIMS, Claim, Evidence, Verdict, claim, verify_all
from fl.registry import select, verify
from fl.scales import SCALES, Scale

__all__ = ["CLAIMS", "Claim", "Evidence", "SCALES", "Scale", "Verdict"]
__all__ += ["claim", "select", "verify", "verify_all"]
