"""Claims on what a network does with the direction: its spike, other optimizers, even
teachers, and inputs made of signs.
"""

from fl.claims.single_index import (
    KFAC,
    POPULATION,
    SAMPLE,
    compare,
    judge,
    lead_of_known,
    limits,
    paired,
    top_damping,
    top_exponent,
)
from fl.evidence import claim
from fl.judging import roughly
from fl.studies import single_index as study
from fl.theory import single_index as theory
from fl.theory import single_index_batch as own
from fl.theory import single_index_network as network
from fl.theory import single_index_second as second


def spiked(task, gamma, data):
    """Yield singular value, in units of the predicted one, and alignment after a step,
    their predictions and the rival's; ``task``, ``gamma`` and ``data`` are of a cell.
    """
    aspect = data.width / data.d
    outlier, overlap = network.spike(study.THETA, aspect)
    direction = own.first_step(task, gamma, data.damping)
    largest = data["values"][..., 0]
    yield largest / outlier, 1.0, 1.0
    yield data.alignment, overlap * direction.cos2, direction.cos2


@claim(
    "single_index.spike",
    statement="after a step of strength θ = 2 the weights of a network have an "
    "outlying singular value, and its vector aligns with the teacher as the direction "
    "times the overlap of the spike says",
    source="derived",
    uses=("thm-single_index-spike",),
    control="the weights before the step ignored: a singular vector along the direction",
)
def spike(scale, broken, block):
    """Plain and preconditioned steps of a tanh network with N = 2d neurons."""
    return compare(study.steps(scale, block), spiked, broken)


def hidden_damping(task, gamma, data):
    """Yield the alignment of the natural gradient, its prediction and the rival's;
    ``task``, ``gamma`` and ``data`` are of a cell.
    """
    s, _ = theory.weights(task)
    hidden = network.implicit_damping(data.activation, s, gamma)
    right, rival = (
        own.first_step(task, gamma, damping, centred=True).cos2
        for damping in (hidden, 0)
    )
    yield data.ngd, right, rival


@claim(
    "single_index.natural_gradient",
    statement="the full natural-gradient step on the first layer aligns like the "
    "batch-covariance step with damping (tr Σ/n) Var σ'/(E σ')², which only a linear "
    "activation escapes",
    source="derived",
    uses=("thm-single_index-kfac",),
    control="no implicit damping",
)
def natural_gradient(scale, broken, block):
    """Gauss-Newton steps of a tanh and a ReLU network."""
    return compare(study.first_updates(scale, block), hidden_damping, broken)


def first_order(task, gamma, data):
    """Yield the alignments of batch-norm, Muon by the head, and Adam, with their
    predictions on the axes of the covariance, and elsewhere; ``task``, ``gamma`` and
    ``data`` are of a cell.
    """
    plain = own.first_step(task, gamma, centred=True).cos2
    nu = theory.moments(task, centred=True).nu
    cell = *theory.weights(task), gamma, nu, data.activation
    yield data.batchnorm, plain, plain
    yield data.muon_head, plain, plain
    adam = network.adam(*cell)
    axes = adam if data.rotate else network.adam_on_axes(*cell)
    yield data.adam, axes, adam


@claim(
    "single_index.adam_batchnorm_muon",
    statement="in randomly rotated coordinates batch-norm keeps the alignment of plain "
    "gradient descent, so does Muon's update weighted by the head, and Adam multiplies "
    "it by χ/arcsin χ < 1",
    source="derived",
    uses=("thm-single_index-step", "thm-single_index-population"),
    control="coordinates that are the eigenvectors of the covariance",
)
def adam_batchnorm_muon(scale, broken, block):
    """First updates of a tanh and a ReLU network, three methods each; of the control
    Adam alone is expected elsewhere.
    """
    pairs = study.first_updates(scale, block, rotate=not broken)
    return compare(pairs, first_order, broken)


def unled(task, gamma, data):
    """Yield the alignment of Muon's update, scored like the others, and that of the
    gradient, with their predictions and the rival's, who has the gradient's for both;
    ``task``, ``gamma`` and ``data`` are of a cell.
    """
    plain = own.first_step(task, gamma, centred=True).cos2
    yield data.muon, 0.0, plain
    yield data.sgd, plain, plain


@claim(
    "single_index.muon",
    statement="scored like the others, Muon shows nothing: all singular values of its "
    "update are equal, and the top right singular vector of the weights after a large "
    "step does not align with the teacher, while the gradient's does",
    source="derived",
    uses=("thm-single_index-spike",),
    control="the polar factor taken to keep the alignment of its gradient",
)
def muon(scale, broken, block):
    """First updates of a tanh and a ReLU network."""
    return compare(study.first_updates(scale, block), unled, broken)


def by_chance(task, gamma, data):
    """Yield the alignments of an even teacher over their chance level, or of another
    teacher with what it leads to, and the rival's prediction, chance; ``task``,
    ``gamma`` and ``data`` are of a cell.
    """
    for p in data.members:
        level = network.chance(task, p)
        seen = 1.0
        if task.teacher.link.name != "abs":
            s, b = theory.weights(task)
            nu = theory.moments(task).nu
            limit = theory.population_power(s, b, gamma, nu, p)
            seen = limit.cos2 / level
        draws = data.alignment.sel(p=p)
        yield draws / level, seen, 1.0


@claim(
    "single_index.even_teacher",
    statement="an even teacher leaves no trace in X y/n: the alignment of that direction "
    "is chance, a known multiple of 1/d, preconditioned or not",
    source="derived",
    uses=("thm-single_index-step",),
    control="the same teacher plus an odd part (ReLU instead of the absolute value)",
)
def even_teacher(scale, broken, block):
    """Alignment over its chance level for the absolute value, two spectra, p = 0 and p
    = -1.
    """
    pairs = study.even_teachers(scale, block, link="relu" if broken else "abs")
    return compare(pairs, by_chance, broken)


def in_the_plane(task, gamma, data):
    """Yield the alignment with the plane of the first two singular vectors, its
    prediction and that of a network with E σ'' != 0; ``task``, ``gamma`` and ``data``
    are of a cell.
    """
    aspect = data.width / data.d
    law = second.second_spike(task, gamma, aspect, "relu").cos2
    right = law if data.activation == "relu" else 0.0
    yield data["first"] + data["second"], right, law


@claim(
    "single_index.second_spike",
    statement="the gradient of a ReLU network has a second spike, whose right singular "
    "vector aligns with an even teacher as the fixed point in n/d, N/d, E σ'' and the "
    "law of the label says",
    source="derived",
    uses=(
        "thm-single_index-second",
        "thm-single_index-batch",
        "def-single_index-pencil",
    ),
    control="a network with E σ'' = 0 (tanh), which has no second spike",
)
def second_spike(scale, broken, block):
    """Three even teachers; the plane of the first two vectors, of which the first is at
    chance.
    """
    pairs = study.second_spikes(scale, block, "tanh" if broken else "relu")
    found = compare(pairs, in_the_plane, broken)
    # a vector at chance still shows a few of 1/d
    return roughly(found, 1 / 4) if broken else found


def of_a_sign(task, gamma, data):
    """Yield the alignment for an odd teacher on one coordinate, a function of a sign and
    therefore linear, its prediction and that of the Gaussian formula; ``task``,
    ``gamma`` and ``data`` are of a cell.
    """
    (tau,) = task.tau
    s, b = theory.weights(task)
    slope = task.teacher.link(tau) / tau
    rho = task.noise_variance / slope**2
    other = theory.moments(task).rho
    for damping, draws in zip(data.members, data.alignment.T, strict=True):
        right = own.kfac(s, b, gamma, rho, damping)
        rival = own.kfac(s, b, gamma, other, damping)
        yield draws, right.cos2, rival.cos2


@claim(
    "single_index.signs",
    statement="with inputs made of random signs, Σ^(1/2) u, every formula of the chapter "
    "holds as it stands for teachers that are spread over the coordinates: filters, "
    "best damping and exponent, the crossing of both whitenings, spike, natural gradient, "
    "Adam, batch-norm, Muon, even teachers, second spike",
    source="observed",
    uses=(
        "single_index.population_power",
        "single_index.kfac",
        "single_index.sample_power",
        "single_index.best_damping",
        "single_index.best_exponent",
        "single_index.whitening_crossing",
        "single_index.spike",
        "single_index.natural_gradient",
        "single_index.adam_batchnorm_muon",
        "single_index.muon",
        "single_index.even_teacher",
        "single_index.second_spike",
    ),
    control="a tanh teacher on a single coordinate, which is linear in a sign",
)
def signs(scale, broken, block):
    """The cells of all other claims, with signs."""
    if broken:
        pairs = study.on_one_axis(scale, block)
        return compare(pairs, of_a_sign, broken)
    fresh = {"scale": scale, "block": block, "signs": True}
    updates = study.first_updates(**fresh)
    cases = [
        (study.filters(family="population", **fresh), POPULATION),
        (study.filters(family="kfac", **fresh), KFAC),
        (study.filters(family="sample", **fresh), SAMPLE),
        (study.near_dampings(**fresh), top_damping),
        (study.near_exponents(**fresh), top_exponent),
        (paired(study.at_crossing(**fresh)), lead_of_known),
        (study.steps(**fresh), spiked),
        *((updates, predict) for predict in (hidden_damping, first_order, unled)),
        (study.even_teachers(**fresh), by_chance),
        (study.second_spikes(**fresh), in_the_plane),
    ]
    found, cells = [], []
    for pairs, predict in cases:
        found += limits(pairs, predict)
        cells += pairs
    return judge(found, cells, broken)
