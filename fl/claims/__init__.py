"""All claims of the book; importing this package fills the registry `CLAIMS`, in the
order of ``_toc.yml``.
"""

# isort: off
from fl.claims import (  # noqa: F401, in reading order: `fl list` and the scoreboard follow it
    gram,
    gram_linear,
    alignment,
    noise,
    ood,
    ood_why,
    transfer,
    spikes,
    spikes_risk,
    spectrum,
    spectrum_error,
    representation,
    representation_contest,
    single_index,
    effective_exponent,
)

# isort: on
from fl.evidence import (
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
