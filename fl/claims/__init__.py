"""All claims of the book; importing this package fills the registry `CLAIMS`, topic by topic."""

from fl.claims import (  # noqa: F401
    alignment,
    effective_exponent,
    gram,
    gram_linear,
    noise,
    representation,
    representation_contest,
    single_index,
    spectrum,
    spectrum_error,
    spikes,
    spikes_risk,
)
from fl.claims.engine import (
    CLAIMS,
    SCALES,
    Claim,
    Evidence,
    Scale,
    Verdict,
    claim,
    select,
    verify,
    verify_all,
)

__all__ = [
    "CLAIMS",
    "SCALES",
    "Claim",
    "Evidence",
    "Scale",
    "Verdict",
    "claim",
    "select",
    "verify",
    "verify_all",
]
