"""Whatever machine it runs on, the same numbers: more threads, no home, no compiler, no
network, another locale, a processor that rounds in another order.
"""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

# trained networks, their law, random matrices
CLAIMS = ["gram.test_time", "gram.initial_law", "spikes.linear_floor"]
SCRIPT = f"""
import json, os
import fl
fl.setup()
import torch
torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
found = fl.verdicts({CLAIMS})
print(json.dumps([[v.measured, v.control_measured, v.tolerance] for v in found]))
"""


def numbers(folder, prefix=(), without=(), script=SCRIPT, **settings) -> np.ndarray:
    """Return what ``script`` finds in a process of its own, its results store empty."""
    environment = {k: v for k, v in os.environ.items() if k not in without}
    environment |= {"FL_CACHE": str(folder / "store"), "FL_JOBS": "1"}
    environment |= {"FL_SCALE": "smoke", "OMP_NUM_THREADS": "1"} | settings
    command = [*prefix, sys.executable, "-c", script]
    kept = {"env": environment, "cwd": folder, "capture_output": True, "text": True}
    run = subprocess.run(command, check=False, **kept)
    assert run.returncode == 0, run.stderr
    return np.array(json.loads(run.stdout))


# what training amplifies most: P far from the identity, averages of curvature, inverses
TRAINED = """
import json
from fl.simulate import noise, ood, transfer
setting = transfer.Setting((2500,), (-2.0, 1.0), width=40, eta=0.04, n_test=500)
errors = transfer.reuse(0, "high", 1.0, setting)["test"].values.ravel().tolist()
setting = noise.Setting(2000, 60, exponents=(-1.0,), optimizer="adahessian")
errors += noise.trajectories(0, "high", 1.0, setting)["noisy"].values.ravel().tolist()
kfac = ood.run(0, "K-FAC 1e-6", until="early", cue="none")
print(json.dumps([*errors, kfac["digit"], kfac["loss"]]))
"""
# the oldest kernels of every library that has several
OTHER = {
    "MKL_CBWR": "COMPATIBLE",
    "ATEN_CPU_CAPABILITY": "default",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "OPENBLAS_CORETYPE": "Nehalem",
    "NUMBA_CPU_NAME": "generic",
}


def test_another_processor_changes_no_digit(tmp_path):
    here = numbers(tmp_path, script=TRAINED)
    other = numbers(tmp_path, script=TRAINED, **OTHER)
    if np.array_equal(here, other):
        pytest.skip("the libraries of this machine have one order of rounding")
    np.testing.assert_allclose(here, other, rtol=1e-6)


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    """The numbers on this machine as it is, with one thread."""
    return numbers(tmp_path_factory.mktemp("usual"))


def test_threads_do_not_change_a_digit(usual, tmp_path):
    found = numbers(tmp_path, OMP_NUM_THREADS="2", MKL_NUM_THREADS="2")
    np.testing.assert_allclose(found, usual, rtol=1e-6)


def test_no_home_no_compiler_no_network_and_another_locale(usual, tmp_path):
    # a network of its own, with nobody in it, where the machine gives one
    unshare = shutil.which("unshare")
    alone = [unshare, "--net", "--map-root-user"]
    closed = unshare and not subprocess.run([*alone, "true"], check=False).returncode
    settings = {"PATH": str(tmp_path), "LC_ALL": "C", "PYTHONHASHSEED": "7"}
    lost = ("HOME", "USER", "LANG")
    found = numbers(tmp_path, alone if closed else (), lost, **settings)
    np.testing.assert_array_equal(found, usual)


def test_where_a_tensor_lies_in_memory_changes_no_bit():
    """`fl` asks torch's products for this before they are loaded."""
    code = """
import fl
import numpy as np
import torch

rng, found = np.random.default_rng(0), set()
W, X = rng.standard_normal((10, 64)), rng.standard_normal((200, 64))
for _ in range(60):
    parts = []
    for A in (W, X):
        room = np.empty(A.nbytes + 256, np.uint8)
        at = -room.ctypes.data % 128 + 8 * int(rng.integers(8))
        parts.append(room[at : at + A.nbytes].view(float).reshape(A.shape))
        parts[-1][:] = A
    W_there, X_there = map(torch.from_numpy, parts)
    product = torch.nn.functional.linear(X_there, W_there)
    found.add(product.numpy().tobytes())
print(len(found))
"""
    env = {k: v for k, v in os.environ.items() if k != "MKL_CBWR"}
    run = [sys.executable, "-c", code]
    assert subprocess.run(run, env=env, capture_output=True, text=True).stdout == "1\n"
