"""Fixtures shared by all tests: the backends, the golden arrays, the seeded tower behind them."""

import os
from functools import partial

import numpy as np
import pytest
from scripts_as_modules import load_command, run

from core import ClipFeatures, InputError, load_backend
from core.backends import PACKAGES

REQUIRED = [name for name in os.environ.get("JITTOR_OVSEG_REQUIRED", "numpy").split(",") if name]


def backend_or_skip(name):
    """The backend; a skip that says why where it cannot load, unless the environment requires it."""
    try:
        return load_backend(name)
    except InputError as error:
        if name in REQUIRED:
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session", autouse=True)
def private_cache(tmp_path_factory):
    """Text embeddings of the tests do not go to the user's cache."""
    os.environ["JITTOR_OVSEG_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(params=list(PACKAGES))
def ops(request):
    """Each backend in turn."""
    return backend_or_skip(request.param)


@pytest.fixture(params=["torch", "jittor"])
def mirror(request):
    """Each backend but NumPy, the oracle."""
    return backend_or_skip(request.param)


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return request.param


@pytest.fixture
def rng():
    return np.random.default_rng(20261121)


@pytest.fixture(scope="session")
def golden():
    """The authors' outputs on seeded weights (tests/golden/README.md)."""
    return dict(np.load(os.path.join(os.path.dirname(__file__), "golden", "reference_a.npz")))


@pytest.fixture(scope="session")
def golden_backbone(golden):
    """The seeded tower of the golden arrays, in open_clip."""
    from towers import seeded_clip

    from torch_backend import ClipBackbone

    return ClipBackbone(seeded_clip(int(golden["seed"])), device="cpu")


@pytest.fixture(scope="session")
def golden_features(golden, golden_backbone) -> ClipFeatures:
    from golden.golden_inputs import normalise, picture

    return golden_backbone.features(normalise(picture(224, 224, int(golden["seed"]) + 1)), attention=True)


@pytest.fixture
def torch():
    """The Torch backend's primitives."""
    return backend_or_skip("torch")


@pytest.fixture
def parity(capsys, tmp_path, monkeypatch):
    """Runs the command `parity` in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return partial(run, load_command("parity"), capsys)
