"""Real images: scikit-learn's digits (embedded, always there) and MNIST's official test
part (optional).

MNIST is read from the folder named by the environment variable ``FL_DATA``, or
downloaded once with a checksum by `fetch_mnist`. Images stand in columns, like the
samples of a `Task`, and pixels lie in [0, 1].
"""

import gzip
import hashlib
import os
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import platformdirs

from fl import validate

_MIRROR = "https://ossci-datasets.s3.amazonaws.com/mnist/"
# name -> (magic number, shape, sha256 of the .gz); the database's own "t10k" files
FILES = {
    "t10k-images-idx3-ubyte.gz": (
        2051,
        (10000, 28, 28),
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    ),
    "t10k-labels-idx1-ubyte.gz": (
        2049,
        (10000,),
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ),
}


class Images(NamedTuple):
    """Pixels ``X`` (d, n) in [0, 1] and class labels (n,)."""

    X: np.ndarray
    labels: np.ndarray


def load(name: str) -> Images:
    """Return the images called ``name``: ``"digits"`` (d = 64, n = 1797) or ``"mnist"``
    (d = 784, n = 10000).

    Raises:
        ValueError: for an unknown name, or a file that is truncated or not the
            distributed one.
        FileNotFoundError: if MNIST is asked for and neither ``FL_DATA`` nor an earlier
            download has it.
    """
    validate.choice("name", name, ["digits", "mnist"])
    if name == "digits":
        from sklearn.datasets import load_digits  # two seconds, for those who need it

        images, labels = load_digits(return_X_y=True)
        return Images(images.T / 16.0, labels)
    folder = mnist_folder()
    if folder is None:
        raise FileNotFoundError(
            "MNIST is not here: set FL_DATA to a folder that holds "
            + " and ".join(FILES)
            + ", or call fl.datasets.fetch_mnist() once on a machine with a network"
        )
    images, labels = (read_idx(folder / file, *FILES[file]) for file in FILES)
    return Images(images.reshape(len(images), -1).T / 255.0, labels.astype(int))


def drawn(name: str, n: int, rng: np.random.Generator) -> Images:
    """Return ``n`` different ones of the images called ``name``, drawn by ``rng``; all of
    them in another order if there are no more.
    """
    X, labels = load(name)
    chosen = rng.permutation(len(labels))[:n]
    return Images(X[:, chosen], labels[chosen])


def mnist_folder() -> Path | None:
    """Return the folder of the MNIST files, or None if there is none.

    Raises:
        FileNotFoundError: if ``FL_DATA`` is set but the folder lacks a file.
    """
    given = os.environ.get("FL_DATA")
    if given:
        missing = [file for file in FILES if not (Path(given) / file).is_file()]
        if missing:
            raise FileNotFoundError(
                f"FL_DATA = {given!r} lacks {', '.join(missing)}: copy it there or unset FL_DATA"
            )
        return Path(given)
    cache = platformdirs.user_cache_path("fl")
    return cache if all((cache / file).is_file() for file in FILES) else None


def files_read() -> list[Path]:
    """Return the files that `load` reads here; they are part of the key of a result."""
    try:
        folder = mnist_folder()
    except FileNotFoundError:  # whoever asks for MNIST will be told
        folder = None
    return [] if folder is None else [folder / file for file in FILES]


def fetch_mnist() -> Path:
    """Download the two files (1.6 MB), check their sha256, and return their folder.

    A failure leaves no part of a file behind; a file that is whole stays, and is not
    fetched again.
    """
    # its import warns about missing notebook widgets, so only a download pays for it
    import pooch

    folder = platformdirs.user_cache_path("fl")
    for file, (_, _, sha256) in FILES.items():
        pooch.retrieve(_MIRROR + file, f"sha256:{sha256}", fname=file, path=folder)
    return folder


def read_idx(
    path: Path, magic: int, shape: tuple[int, ...], sha256: str | None = None
) -> np.ndarray:
    """Return the unsigned bytes of the gzipped IDX file ``path``.

    An array of ``shape``; ``magic`` is the number that the file must start with.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for a wrong checksum (when ``sha256`` is given), broken compression,
            wrong magic number, wrong shape in the header, or missing bytes; the message
            names the file and the cure.
    """
    path = Path(path)
    cure = "replace it by the distributed file"
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist: put the distributed file there"
        )
    packed = path.read_bytes()
    found = hashlib.sha256(packed).hexdigest()
    try:
        raw = gzip.decompress(packed)
    except (OSError, EOFError, zlib.error):
        raise ValueError(
            f"{path} is truncated or not a gzip file ({len(packed)} bytes): {cure}"
        ) from None
    head = 4 + 4 * len(shape)
    if len(raw) < head or int.from_bytes(raw[:4], "big") != magic:
        raise ValueError(
            f"{path} starts with {raw[:4].hex()}: an IDX file of this kind starts with "
            f"{magic:08x}; {cure}"
        )
    header = tuple(int(n) for n in np.frombuffer(raw, ">u4", len(shape), 4))
    if header != shape or len(raw) != head + int(np.prod(shape)):
        raise ValueError(
            f"{path} holds {header} in {len(raw)} bytes: must be {shape} in "
            f"{head + np.prod(shape)}; {cure}"
        )
    if sha256 is not None and found != sha256:
        raise ValueError(f"{path} has sha256 {found}: must be {sha256}; {cure}")
    return np.frombuffer(raw, np.uint8, offset=head).reshape(shape)
