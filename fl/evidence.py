"""The claims engine: a statement, the evidence for it, and a control that has to fail.

A claim is a function of ``(scale, broken, block)`` that returns `Evidence`. With
``broken=True`` it runs the same check with one hypothesis broken; a claim stands only
if the check holds and the broken check does not.
"""

import itertools
import json
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, fields
from typing import Literal

import numpy as np

from fl import validate
from fl.keys import function_name
from fl.scales import SCALES, Scale
from fl.store import evaluate

CLAIMS: dict[str, "Claim"] = {}
SHARP = 3.0  # tolerances between the prediction and what the control gives, at least
# the paper states it, inside its hypotheses; a proof stands on the page; a calculation
# stands there whose steps are not all proofs; two theoretical routes agree, nothing is
# measured; seen at the sizes named
SOURCES = ("paper KEY", "proved", "derived", "consistency", "observed")

_LOWEST = {"predicted": -np.inf, "tolerance": 0, "within": 0}
_LOWEST |= {"standard_error": 0, "expected": -np.inf}


@dataclass(frozen=True)
class Evidence:
    """One prediction held against one measurement.

    ``relation`` says what holds means: ``equal`` for ``abs(measured - predicted) <=
    tolerance``, ``at most`` for ``measured <= predicted + tolerance``, ``at least`` for
    ``measured >= predicted - tolerance``. ``reason`` says where the tolerance comes
    from; ``sizes`` holds the dimensions, sample sizes and seeds used.
    ``standard_error`` is None where nothing is sampled.

    The evidence of a control may say what the rival hypothesis predicts it to measure:
    ``expected``, give or take ``within``. A control that misses this fails for another
    reason than the one it was made for, and proves nothing. A claim's are not read.
    """

    predicted: float
    measured: float
    tolerance: float
    reason: str
    standard_error: float | None = None
    relation: Literal["equal", "at most", "at least"] = "equal"
    sizes: dict = field(default_factory=dict)
    expected: float | None = None
    within: float = 0.0

    def __post_init__(self):
        validate.choice("relation", self.relation, ["equal", "at most", "at least"])
        # plain values: the record has to survive JSON, whatever types it was made from
        text = json.dumps(self.sizes, default=_plain)
        sizes = json.loads(text, parse_constant=lambda word: str(float(word)))
        plain = {"measured": float(self.measured), "sizes": sizes}
        for name, low in _LOWEST.items():
            given = getattr(self, name)
            if given is not None or name not in ("standard_error", "expected"):
                plain[name] = validate.number(name, given, low)
        for name, value in plain.items():
            object.__setattr__(self, name, value)

    def excess(self, measured: float) -> float:
        """Return how far ``measured`` lies from the prediction, on the wrong side of it
        for a bound; negative on the right side.
        """
        gap = measured - self.predicted
        return {"equal": abs(gap), "at most": gap, "at least": -gap}[self.relation]

    @property
    def holds(self) -> bool:
        """Whether the measurement is where the prediction puts it; NaN and infinity
        never hold.
        """
        excess = self.excess(self.measured)
        return bool(np.isfinite(self.measured) and excess <= self.tolerance)

    @property
    def as_expected(self) -> bool:
        """Whether a control measures what its rival predicts, where it says so."""
        if self.expected is None:
            return bool(np.isfinite(self.measured))
        return bool(abs(self.measured - self.expected) <= self.within)

    def distance(self, other: "Evidence") -> float:
        """Return how far the measurement of ``other`` lies from this prediction, on the
        wrong side of it for a bound: the sharpness, where ``other`` is the control.

        In tolerances; for a bound in units of the larger of tolerance and standard
        error. Infinite where there is neither.
        """
        unit = self.tolerance
        if self.relation != "equal":
            unit = max(unit, self.standard_error or 0.0)
        excess = self.excess(other.measured)
        if unit > 0:
            return excess / unit
        return excess * np.inf if excess else 0.0


@dataclass(frozen=True)
class Claim:
    """A statement, its source (one of `SOURCES`), the hypothesis its control breaks, and
    for an observation that is less sharp than three tolerances the reason, ``blunt``.
    """

    id: str
    statement: str
    source: str
    control: str
    function: Callable = field(repr=False)
    blunt: str = ""

    @property
    def topic(self) -> str:
        """The part of the id before the point; also the name of the chapter."""
        return self.id.split(".")[0]


@dataclass(frozen=True)
class Verdict:
    """A claim after its evaluation; the fields are the keys of the JSON record.

    ``sharpness`` and ``margin``: the `Evidence.distance` of control and measurement.
    """

    id: str
    topic: str
    statement: str
    source: str
    predicted: float
    measured: float
    standard_error: float | None
    relation: str
    tolerance: float
    reason: str
    holds: bool
    control: str
    control_measured: float
    control_expected: float | None
    control_within: float
    control_fails: bool
    sharpness: float
    margin: float
    blunt: str
    sizes: dict
    scale: str
    block: int
    seconds: float

    @property
    def stands(self) -> bool:
        """Whether the claim holds, its control fails as it must, and it is `sharp`."""
        return self.holds and self.control_fails and self.sharp

    @property
    def sharp(self) -> bool:
        """Whether the control lies at least three tolerances off, or it is said why.

        The small sizes of the scale ``smoke`` are not asked for it.
        """
        return bool(self.blunt) or self.scale == "smoke" or self.sharpness >= SHARP

    def record(self) -> dict:
        """Return the verdict as plain numbers, strings and dictionaries, ready for
        JSON, which has no NaN: None.
        """
        return {name: _finite(value) for name, value in asdict(self).items()}


def _finite(value):
    bad = isinstance(value, float) and not np.isfinite(value)
    return None if bad else value


def claim(
    id: str, *, statement: str, source: str, control: str, blunt: str = "", uses=()
) -> Callable:
    """Return a decorator for a function ``(scale, broken, block) -> Evidence``.

    Args:
        id: its name, ``topic.name``; the same function may be defined again.
        statement: what is claimed.
        source: one of `SOURCES`, with the paper's key in the place of KEY.
        control: the hypothesis that ``broken=True`` breaks.
        blunt: for an observation alone, why its control is no three tolerances off.
        uses: labels of boxes and ids of claims that the statement rests on, a tuple of
            words that only `fl.registry.uses` reads.

    Raises:
        ValueError: if another function has the id, the id has no topic, the source is
            none of the kinds, a text is empty, or ``blunt`` excuses more than an
            observation.
    """
    if not re.fullmatch(r"[a-z]\w*\.[a-z]\w*", id):
        raise ValueError(f"id = {id!r}: must be a new name of the form topic.name")
    if not re.fullmatch(r"paper \w+.*|proved|derived|consistency|observed", source):
        raise ValueError(f"source = {source!r}: must be one of {', '.join(SOURCES)}")
    for name, text in [("statement", statement), ("control", control)]:
        if not text.strip():
            raise ValueError(f"{name} = {text!r}: must say something")
    if blunt and source != "observed":
        raise ValueError(f"blunt = {blunt!r}: must be empty for the source {source}")

    def register(function: Callable) -> Callable:
        made = Claim(id, statement, source, control, function, blunt)
        known = CLAIMS.get(id, made)
        # a cell that runs again, or a module that is loaded again, replaces its claim
        if function_name(known.function) != function_name(function):
            raise ValueError(f"id = {id!r}: must be a new name of the form topic.name")
        CLAIMS[id] = made
        return function

    return register


def verify_all(
    claims: Iterable[Claim],
    scale: Scale = "book",
    jobs: int | None = None,
    blocks: Iterable[int] = (0,),
    tell: Callable | None = None,
) -> list[Verdict]:
    """Evaluate claims and their controls, in parallel, each stored as it finishes.

    Args:
        claims: in the order in which they are started and returned.
        scale: ``smoke``, ``book`` or ``paper``.
        jobs: worker processes; ``FL_JOBS`` or the number of cores if None.
        blocks: of seeds, each at least 0; 0 for those of the book.
        tell: called as ``tell(verdict)`` whenever one has been evaluated.

    Returns:
        A verdict a claim and block, read from the store where nothing has changed.

    Raises:
        ValueError: for an unknown scale or a block < 0.
    """
    validate.choice("scale", scale, SCALES)
    numbers = [validate.count("block", block, minimum=0) for block in blocks]
    pairs = itertools.product(claims, numbers)
    units = [{"claim": c, "scale": scale, "block": block} for c, block in pairs]
    told = None if tell is None else lambda found: tell(Verdict(**found))
    found = evaluate(record, units, jobs, in_order=True, tell=told)
    return [Verdict(**fields) for fields in found]


def record(claim: Claim, scale: Scale, block: int) -> dict:
    """Return the fields of the `Verdict` on ``claim`` at a ``scale``, on a ``block`` of
    seeds.

    Raises:
        ValueError: if the control is not the same check.
    """
    start = time.perf_counter()
    evidence = claim.function(scale, False, block)
    broken = claim.function(scale, True, block)
    if (evidence.relation, evidence.reason) != (broken.relation, broken.reason):
        raise ValueError(
            f"{claim.id}: the control must be the same check: same relation, same reason "
            "for the tolerance"
        )
    known = vars(claim) | vars(evidence)
    known |= {
        "topic": claim.topic,
        "holds": evidence.holds,
        "control_measured": broken.measured,
        "control_expected": broken.expected,
        "control_within": broken.within,
        "control_fails": broken.as_expected and not broken.holds,
        "sharpness": evidence.distance(broken),
        "margin": evidence.distance(evidence),
        "scale": scale,
        "block": block,
        "seconds": round(time.perf_counter() - start, 3),
    }
    return {f.name: known[f.name] for f in fields(Verdict)}


def _plain(value):
    """Return a range, a number or an array of numpy as Python's own; the sizes of a claim
    hold nothing else that JSON does not know.
    """
    if isinstance(value, range):
        return list(value)
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise ValueError(
        f"sizes holds {value!r}: must be numbers, strings, lists and dictionaries of them"
    )
