"""Claims on what a network does with the direction: its spike, other optimizers, and
even teachers.
"""

from dataclasses import replace

from fl.claims.single_index import compare, trial, worst
from fl.evidence import claim
from fl.studies import single_index as study
from fl.theory import single_index as theory
from fl.theory import single_index_batch as own
from fl.theory import single_index_network as network
from fl.theory import single_index_second as second


@claim(
    "single_index.spike",
    statement="after a step of strength θ = 2 the weights of a network have an "
    "outlying singular value, and its vector aligns with the teacher as the direction "
    "times the overlap of the spike says",
    source="derived",
    control="the weights before the step ignored: a singular vector along the direction",
)
def spike(scale, broken, block):
    """Plain and preconditioned steps of a tanh network with N = 2d neurons; the
    singular value in units of the predicted one.
    """

    def predict(task, gamma, data):
        aspect = data.width / data.d
        outlier, overlap = network.spike(study.THETA, aspect)
        direction = own.first_step(task, gamma, data.damping)
        largest = data["values"][..., 0]
        yield largest / outlier, 1.0, 1.0
        yield data.alignment, overlap * direction.cos2, direction.cos2

    return compare(study.steps(scale, block), predict, broken)


@claim(
    "single_index.natural_gradient",
    statement="the full natural-gradient step on the first layer aligns like the "
    "batch-covariance step with damping (tr Σ/n) Var σ'/(E σ')², which only a linear "
    "activation escapes",
    source="derived",
    control="no implicit damping",
)
def natural_gradient(scale, broken, block):
    """Gauss-Newton steps of a tanh and a ReLU network."""

    def predict(task, gamma, data):
        s, _ = theory.weights(task)
        hidden = network.implicit_damping(data.activation, s, gamma)
        right = own.first_step(task, gamma, hidden, centred=True)
        rival = own.first_step(task, gamma, 0, centred=True)
        yield data.ngd, right.cos2, rival.cos2

    return compare(study.first_updates(scale, block), predict, broken)


@claim(
    "single_index.adam_batchnorm_muon",
    statement="in randomly rotated coordinates batch-norm keeps the alignment of plain "
    "gradient descent, so does Muon's update weighted by the head, and Adam multiplies "
    "it by χ/arcsin χ < 1",
    source="derived",
    control="coordinates that are the eigenvectors of the covariance",
)
def adam_batchnorm_muon(scale, broken, block):
    """First updates of a tanh and a ReLU network, three methods each."""

    def predict(task, gamma, data):
        plain = own.first_step(task, gamma, centred=True).cos2
        nu = theory.moments(task, centred=True).nu
        adam = network.adam(*theory.weights(task), gamma, nu, data.activation)
        yield data.batchnorm, plain, plain
        yield data.muon_head, plain, plain
        yield data.adam, adam, adam

    cells = study.first_updates(scale, block, rotate=not broken)
    evidence = compare(cells, predict, broken, constant=5.0)
    return replace(evidence, expected=None)


@claim(
    "single_index.muon",
    statement="scored like the others, Muon shows nothing: all singular values of its "
    "update are equal, and the top right singular vector of the weights after a large "
    "step does not align with the teacher",
    source="derived",
    control="the gradient in the place of its polar factor",
)
def muon(scale, broken, block):
    """First updates of a tanh and a ReLU network."""

    def predict(task, gamma, data):
        plain = own.first_step(task, gamma, centred=True).cos2
        found = data.sgd if broken else data.muon
        yield found, plain if broken else 0.0, 0.0

    cells = study.first_updates(scale, block)
    return compare(cells, predict, broken, constant=5.0)


@claim(
    "single_index.even_teacher",
    statement="an even teacher leaves no trace in X y/n: the alignment of that direction "
    "is chance, a known multiple of 1/d, preconditioned or not",
    source="derived",
    control="the same teacher plus an odd part (ReLU instead of the absolute value)",
)
def even_teacher(scale, broken, block):
    """Alignment over its chance level for the absolute value, two spectra, p = 0 and p
    = -1.
    """
    cells = study.even_teachers(scale, block, link="relu" if broken else "abs")
    trials = []
    for task, gamma, data in cells:
        s, b = theory.weights(task)
        for p in data.members:
            level, seen = network.chance(task, p), 1.0
            if broken:
                nu = theory.moments(task).nu
                limit = theory.population_power(s, b, gamma, nu, p)
                seen = limit.cos2 / level
            ratio = data.alignment.sel(p=p) / level
            trials.append(trial(ratio, seen, 1.0))
    finite = 5 / cells[0].data.d
    return worst(trials, cells, finite, "the finite-size rate 5/d", broken)


@claim(
    "single_index.second_spike",
    statement="the gradient of a ReLU network has a second spike, whose right singular "
    "vector aligns with an even teacher as the fixed point in n/d, N/d, E σ'' and the "
    "law of the label says",
    source="derived",
    control="a network with E σ'' = 0 (tanh), which has no second spike",
)
def second_spike(scale, broken, block):
    """Three even teachers; the plane of the first two vectors, of which the first is at
    chance.
    """

    def predict(task, gamma, data):
        aspect = data.width / data.d
        law = second.second_spike(task, gamma, aspect, "relu").cos2
        plane = data["first"] + data["second"]
        yield plane, 0.0 if broken else law, law

    cells = study.second_spikes(scale, block, "tanh" if broken else "relu")
    return compare(cells, predict, broken, constant=5.0)
