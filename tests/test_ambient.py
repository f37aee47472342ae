"""What the caller has left on reaches no result, nor do other threads; a fork is told."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from conftest import backend_or_skip

from core import InputError, Segmenter, patch_embeddings
from core.backends import PACKAGES
from core.clip.model import load_clip_model
from torch_backend import ClipBackbone

ROOT = Path(__file__).resolve().parents[1]
VISION = {"image_size": 32, "layers": 4, "width": 64, "head_width": 32, "patch_size": 8}
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
WORDS = ["cat", "sofa, couch", "wall"]


@contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def jittor_flags(**flags):
    jt = jittor()
    before = {name: getattr(jt.flags, name) for name in flags}
    for name, value in flags.items():
        setattr(jt.flags, name, value)
    try:
        yield
        assert {name: getattr(jt.flags, name) for name in flags} == flags
    finally:
        for name, value in before.items():
            setattr(jt.flags, name, value)


def jittor():
    backend_or_skip("jittor")
    from jt_backend.jittor import jt

    return jt


LEFT_ON = {
    "autocast to bfloat16": lambda: torch.autocast("cpu", torch.bfloat16),
    "autocast to float16": lambda: torch.autocast("cpu", torch.float16),
    "inference mode": torch.inference_mode,
    "gradients": torch.enable_grad,
    "no gradients": torch.no_grad,
    "float64 by default": lambda: default_dtype(torch.float64),
    "bfloat16 by default": lambda: default_dtype(torch.bfloat16),
    "another device by default": lambda: torch.device("meta"),
    "NumPy raises": lambda: np.errstate(all="raise"),
}
FLAGS = [
    {"no_grad": True}, {"no_fuse": True}, {"lazy_execution": 0}, {"gopt_disable": 1}, {"auto_mixed_precision_level": 5},
    {"amp_reg": 2}, {"compile_options": {"FLAGS: -O0 ": 1}},
]  # fmt: skip


def model():
    torch.manual_seed(1)
    return open_clip.model.CLIP(16, vision_cfg=VISION, text_cfg=TEXT)


@pytest.fixture(scope="module")
def backbone():
    return ClipBackbone(model(), device="cpu")


@pytest.fixture(scope="module")
def image():
    rng = np.random.default_rng(3)
    return rng.integers(0, 255, (20, 24, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def alone(backbone, image):
    """A backend -> its segmenter, and all that the picture comes to where nothing is left on."""

    @cache
    def had(backend):
        backend_or_skip(backend)
        one = Segmenter("naclip+repair+fsa", backend, model=backbone, n_neighbors=3, pamr_iterations=2, short_side=32)
        return one, everything(one, image)

    return had


def everything(segmenter, image):
    """The bytes of all that a picture comes to, stage by stage."""
    query, ops, clip = segmenter.query(WORDS), segmenter.ops, segmenter.clip
    features = segmenter.picture_features(image)
    pixels = np.zeros((1, 3, 32, 32), np.float32)
    one = segmenter(image, WORDS)
    parts = {
        "text": query.text, "hidden": np.concatenate([ops.to_numpy(x) for x in features.hidden]),
        "attention": ops.to_numpy(features.attention), "whole tower": clip.image_embeddings(pixels),
        "logits": ops.to_numpy(segmenter.logits(image, query)), "scores": one.scores, "labels": one.labels,
        "of saved features": segmenter(image, query, features=features).scores,
        "embeddings": patch_embeddings(features, "naclip", segmenter.backend),
    }  # fmt: skip
    return {name: (str(x.dtype), x.shape, x.tobytes()) for name, x in parts.items()}


def differing(a, b):
    return [name for name in a if a[name] != b[name]]


@pytest.mark.parametrize("name", LEFT_ON)
@pytest.mark.parametrize("backend", PACKAGES)
def test_what_is_left_on_reaches_no_result(alone, image, backend, name):
    one, plain = alone(backend)
    with LEFT_ON[name]():
        assert differing(plain, everything(one, image)) == []


@pytest.mark.parametrize("flags", FLAGS, ids=lambda flags: next(iter(flags)))
def test_jittor_s_flags_reach_no_result(alone, image, flags):
    one, plain = alone("jittor")
    with jittor_flags(**flags):
        assert differing(plain, everything(one, image)) == []


@pytest.mark.parametrize("name", LEFT_ON)
def test_what_is_left_on_while_a_model_is_loaded_reaches_nothing(image, tmp_path, monkeypatch, name):
    """Neither its weights nor the text cache, which is a new one for each."""

    def loaded(folder):
        monkeypatch.setenv("JITTOR_OVSEG_CACHE", str(tmp_path / folder))
        clip = load_clip_model("embedded")
        state = {key: (str(x.dtype), x.shape, x.numpy().tobytes()) for key, x in clip.model.state_dict().items()}
        return state, clip.text_embeddings(["red circle", "grass"]).tobytes(), clip

    plain, text, _ = loaded("plain")
    with LEFT_ON[name]():
        other, other_text, clip = loaded("other")
    assert differing(plain, other) == []
    assert other_text == text and load_clip_model("embedded").text_embeddings(["red circle", "grass"]).tobytes() == text
    assert Segmenter("naclip", "torch", model=clip)(image, ["grass", "red circle"]).scores.dtype == np.float32


def test_what_the_caller_had_is_given_back(ops):
    with ExitStack() as stack:
        for name in ("inference mode", "autocast to bfloat16", "float64 by default", "NumPy raises"):
            stack.enter_context(LEFT_ON[name]())
        with ops.undisturbed(), ops.undisturbed():
            assert np.geterr()["over"] == "warn"
        with pytest.raises(KeyError), ops.undisturbed():
            raise KeyError
        assert torch.is_inference_mode_enabled() and torch.is_autocast_enabled("cpu")
        assert torch.get_default_dtype() is torch.float64 and np.geterr()["under"] == "raise"


@pytest.mark.parametrize(("backend", "method", "n_calls"), [
    ("jittor", "fsa", 96), ("jittor", "naclip", 48), ("jittor", "sclip+repair+fsa", 48), ("torch", "fsa", 16),
    ("numpy", "fsa", 8),
])  # fmt: skip
def test_threads_change_nothing(backend, method, n_calls):
    """Each call alone is the reference; on Jittor a call in five differed before they waited for one another."""
    ops, own = backend_or_skip(backend), {"external": "self"} if method == "fsa" else {}
    one, rng = Segmenter(method, backend, **own), np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (64 + 16 * i, 96, 3)).astype(np.uint8) for i in range(4)]
    query = one.query(["red circle", "grass", "blue square"])
    features = [one.picture_features(picture) for picture in pictures]

    def call(i):
        logits = one.logits(pictures[i % 4], query, features[i % 4])
        result = one(pictures[i % 4], query, features=features[i % 4])
        return ops.to_numpy(logits).tobytes(), result.labels.tobytes(), result.scores.tobytes()

    serial = [call(i) for i in range(4)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(call, range(n_calls)))
    assert [i for i, parts in enumerate(together) if parts != serial[i % 4]] == []


def test_threads_give_jittor_s_flags_back(image):
    jt, one = jittor(), Segmenter("naclip", "jittor")
    before = jt.flags.no_grad
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: one(image, ["grass"]), range(12)))
    assert jt.flags.no_grad == before


FORK = """
import multiprocessing, sys
import numpy as np, torch
sys.path[:0] = [{root!r}, {tests!r}]
from core import InputError, Segmenter
torch.set_num_threads({threads})
one, image = {segmenter}, np.zeros((64, 64, 3), np.uint8)
if {used}:
    one(image, ["red"])
def call(_):
    try:
        return str(one(image, ["red"]).labels.shape)
    except InputError as error:
        return str(error)
if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(1) as pool:
        print(pool.map_async(call, [0]).get(60)[0])
"""


def in_a_fork(segmenter, threads, used=True):
    code = FORK.format(root=str(ROOT), tests=str(ROOT / "tests"), segmenter=segmenter, threads=threads, used=used)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


@pytest.mark.parametrize(("backend", "threads", "framework"), [
    ("numpy", 4, "PyTorch"), ("torch", 4, "PyTorch"), ("jittor", 4, "PyTorch"), ("jittor", 1, "Jittor"),
])  # fmt: skip
def test_a_fork_after_use_is_told(backend, threads, framework):
    backend_or_skip(backend)
    said = in_a_fork(f"Segmenter('naclip', {backend!r})", threads)
    assert said.startswith(f"{framework} has computed in process ") and '"spawn"' in said


def test_a_fork_that_can_compute_does():
    """By one thread alone, as PyTorch's own loaders set it in their workers; and without PyTorch."""
    assert in_a_fork("Segmenter('naclip', 'torch')", threads=1) == "(64, 64)"
    fake = "Segmenter('naclip', 'numpy', model=__import__('fake_clip').FakeClip())"
    assert in_a_fork(fake, threads=4) == "(64, 64)"


def test_no_scale_is_refused_where_tiny_numbers_count_as_zero():
    """As they do in a thread that has loaded one of Jittor's kernels."""
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor keeps tiny numbers")
    try:
        with pytest.raises(InputError, match="logit_scale must be"):
            Segmenter("naclip", "numpy", logit_scale=0)
    finally:
        torch.set_flush_denormal(False)
