"""Real images: what is loaded, and what a broken file says."""

import gzip
import hashlib
import http.server
import os
import threading

import numpy as np
import pytest

from fl import datasets

LABELS = next(name for name in datasets.FILES if "labels" in name)


def idx(magic=2049, values=(7, 2, 1), shape=None) -> bytes:
    header = [magic, *(shape or (len(values),))]
    return b"".join(n.to_bytes(4, "big") for n in header) + bytes(values)


@pytest.fixture
def no_mnist(monkeypatch, tmp_path):
    """A machine that has never seen MNIST; its download folder."""
    monkeypatch.delenv("FL_DATA", raising=False)
    monkeypatch.setattr(
        datasets.platformdirs, "user_cache_path", lambda name: tmp_path / name
    )
    return tmp_path / "fl"


def test_digits_stand_in_columns_between_0_and_1():
    X, labels = datasets.load("digits")
    assert X.shape == (64, 1797) and labels.shape == (1797,)
    assert X.min() == 0 and X.max() == 1
    assert set(labels) == set(range(10))


def test_drawn_images_keep_their_labels_and_are_different():
    X, labels = datasets.load("digits")
    some = datasets.drawn("digits", 40, np.random.default_rng(0))
    order = np.random.default_rng(0).permutation(len(labels))[:40]
    assert len(set(order)) == 40
    assert np.array_equal(some.X, X[:, order])
    assert np.array_equal(some.labels, labels[order])
    every = datasets.drawn("digits", 5000, np.random.default_rng(0))
    assert np.array_equal(np.sort(every.labels), np.sort(labels))


def test_mnist_is_the_official_test_part():
    try:
        folder = datasets.mnist_folder()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    if folder is None:
        pytest.skip("MNIST is not here: neither FL_DATA nor a download")
    X, labels = datasets.load("mnist")
    assert X.shape == (784, 10_000) and X.min() == 0 and X.max() == 1
    assert labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert np.bincount(labels).tolist() == [
        980,
        1135,
        1032,
        1010,
        982,
        892,
        958,
        1028,
        974,
        1009,
    ]


def test_an_unknown_data_set():
    with pytest.raises(
        ValueError, match="name = 'cifar': must be one of digits, mnist"
    ):
        datasets.load("cifar")


def test_without_mnist_the_error_says_what_to_do(no_mnist):
    with pytest.raises(
        FileNotFoundError, match="set FL_DATA to a folder that holds t10k-images"
    ):
        datasets.load("mnist")


def test_a_folder_that_lacks_a_file_is_named(no_mnist, monkeypatch, tmp_path):
    monkeypatch.setenv("FL_DATA", str(tmp_path))
    with pytest.raises(
        FileNotFoundError,
        match="FL_DATA = .* lacks t10k-images.*: copy it there or unset FL_DATA",
    ):
        datasets.load("mnist")


def whole(name: str) -> bytes:
    """Return a file of the right form, black or all zeros, with the given name."""
    magic, shape, _ = datasets.FILES[name]
    head = b"".join(n.to_bytes(4, "big") for n in (magic, *shape))
    return head + bytes(int(np.prod(shape)))


@pytest.mark.parametrize("broken", list(datasets.FILES), ids=["images", "labels"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda raw: gzip.compress(raw)[:-20], "is truncated or not a gzip file"),
        (lambda raw: gzip.compress(raw[:-1]), "bytes: must be|in .* bytes"),
        (
            lambda raw: gzip.compress(b"\0\0\x08\x07" + raw[4:]),
            "starts with 00000807: an IDX file of this kind",
        ),
        (gzip.compress, "has sha256 .*: must be"),
    ],
    ids=["truncated", "bytes missing", "magic", "checksum"],
)
def test_loading_a_folder_with_a_broken_file_names_the_file_and_the_cure(
    broken, damage, message, tmp_path, monkeypatch
):
    right = {}
    for name in datasets.FILES:
        content = gzip.compress(whole(name), mtime=0)
        right[name] = (*datasets.FILES[name][:2], hashlib.sha256(content).hexdigest())
        (tmp_path / name).write_bytes(content)
    monkeypatch.setenv("FL_DATA", str(tmp_path))
    monkeypatch.setattr(datasets, "FILES", right)
    assert datasets.load("mnist").X.max() == 0
    (tmp_path / broken).write_bytes(damage(whole(broken)[:-1] + b"\1"))
    with pytest.raises(ValueError, match=message) as error:
        datasets.load("mnist")
    assert str(tmp_path / broken) in str(
        error.value
    ) and "replace it by the distributed file" in str(error.value)


def test_a_good_file_is_read(tmp_path):
    path = tmp_path / "labels.gz"
    path.write_bytes(gzip.compress(idx()))
    assert datasets.read_idx(path, 2049, (3,)).tolist() == [7, 2, 1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(idx())[:-9], "is truncated or not a gzip file"),
        (b"", "is truncated or not a gzip file|starts with"),
        (b"<html>not found</html>", "is truncated or not a gzip file"),
        (
            gzip.compress(b"\0\0"),
            "starts with 0000: an IDX file of this kind starts with 00000801",
        ),
        (
            gzip.compress(idx(magic=2051)),
            "starts with 00000803: an IDX file of this kind starts with 00000801",
        ),
        (
            gzip.compress(idx(shape=(4,))),
            r"holds \(4,\) in 11 bytes: must be \(3,\) in 11",
        ),
        (
            gzip.compress(idx(values=(7, 2), shape=(3,))),
            r"holds \(3,\) in 10 bytes: must be \(3,\) in 11",
        ),
    ],
    ids=[
        "cut short",
        "empty",
        "not gzip",
        "too short",
        "magic",
        "shape",
        "bytes missing",
    ],
)
def test_a_broken_file_is_named_with_its_cure(tmp_path, content, message):
    path = tmp_path / LABELS
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        datasets.read_idx(path, 2049, (3,))
    assert str(path) in str(
        error.value
    ) and "replace it by the distributed file" in str(error.value)


def test_a_file_of_the_right_form_with_other_content_is_refused(tmp_path):
    path = tmp_path / LABELS
    path.write_bytes(gzip.compress(idx()))
    with pytest.raises(ValueError, match="has sha256 .*: must be 000"):
        datasets.read_idx(path, 2049, (3,), "000")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(
        FileNotFoundError,
        match="nothing.gz does not exist: put the distributed file there",
    ):
        datasets.read_idx(tmp_path / "nothing.gz", 2049, (3,))


@pytest.fixture
def mirror(monkeypatch):
    """A server on this machine in place of the mirror: a table of name -> (announced
    length, content).
    """
    files = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            length, content = files.get(self.path[1:], (None, None))
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(length or 0))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(datasets, "_MIRROR", f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield files
    server.shutdown()
    server.server_close()


@pytest.mark.filterwarnings(
    "default"
)  # importing pooch warns about missing notebook widgets
@pytest.mark.parametrize(
    "answer",
    [(5, b"wrong"), (10_000, b"cut"), None],
    ids=["other content", "connection lost", "not found"],
)
def test_a_failed_download_leaves_nothing_behind(no_mnist, mirror, answer):
    if answer:
        mirror |= dict.fromkeys(datasets.FILES, answer)
    with pytest.raises(Exception, match=".+"):
        datasets.fetch_mnist()
    assert not no_mnist.exists() or os.listdir(no_mnist) == []
    assert datasets.mnist_folder() is None


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    "failure",
    [OSError("no space left on device"), KeyboardInterrupt()],
    ids=["disk", "Ctrl-C"],
)
def test_a_download_that_ends_half_way_leaves_nothing_behind(
    no_mnist, monkeypatch, failure
):
    import pooch

    def half(self, url, output_file, downloader, **_):
        with open(output_file, "wb") as file:
            file.write(b"half of the bytes")
        raise failure

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", half)
    with pytest.raises(type(failure)):
        datasets.fetch_mnist()
    assert os.listdir(no_mnist) == [] and datasets.mnist_folder() is None
    with pytest.raises(FileNotFoundError, match="MNIST is not here"):
        datasets.load("mnist")


@pytest.mark.filterwarnings("default")
def test_a_failure_at_the_second_file_keeps_the_whole_first_one_and_no_more(
    no_mnist, mirror, monkeypatch
):
    content = gzip.compress(idx())
    good = (2049, (3,), hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(datasets, "FILES", {"first.gz": good, "second.gz": good})
    mirror |= {
        "first.gz": (len(content), content),
        "second.gz": (len(content), content[:-3]),
    }
    with pytest.raises(Exception, match=".+"):
        datasets.fetch_mnist()
    assert (
        os.listdir(no_mnist) == ["first.gz"]
        and (no_mnist / "first.gz").read_bytes() == content
    )
    assert datasets.mnist_folder() is None


@pytest.mark.filterwarnings("default")
def test_a_good_download_is_kept(no_mnist, mirror, monkeypatch):
    content = gzip.compress(idx())
    files = {LABELS: (2049, (3,), hashlib.sha256(content).hexdigest())}
    monkeypatch.setattr(datasets, "FILES", files)
    mirror[LABELS] = (len(content), content)
    assert datasets.fetch_mnist() == no_mnist
    mirror.clear()
    assert datasets.fetch_mnist() == datasets.mnist_folder() == no_mnist
    assert datasets.read_idx(no_mnist / LABELS, *files[LABELS]).tolist() == [7, 2, 1]
