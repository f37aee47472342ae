"""Phrases in templates, and their cache."""

import numpy as np
import open_clip
import pytest
import torch
from compare import assert_close
from torch_backend.clip.text import TextEncoder

from core import InputError
from torch_backend.clip.loading import TEMPLATES, LoadedClip

CONFIG = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
VISION = {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16}


@pytest.fixture
def clip():
    torch.manual_seed(0)
    return LoadedClip(open_clip.model.CLIP(16, vision_cfg=VISION, text_cfg=CONFIG).eval(), "tiny")


@pytest.fixture
def encoder(clip, tmp_path, monkeypatch):
    monkeypatch.setenv("JITTOR_OVSEG_CACHE", str(tmp_path))
    return lambda sha="a": TextEncoder(clip, torch.device("cpu"), sha)


def test_there_are_80_templates():
    assert len(TEMPLATES) == 80
    assert TEMPLATES[0] == "a bad photo of a {}."


def test_an_embedding_is_the_normalised_mean_over_the_templates(clip, encoder):
    actual = encoder().embed(["cat", "sofa"])
    for row, phrase in zip(actual, ["cat", "sofa"], strict=True):
        with torch.no_grad():
            each = clip.model.encode_text(clip.tokenizer([t.format(phrase) for t in TEMPLATES])).double()
        mean = (each / each.norm(dim=-1, keepdim=True)).mean(0)
        assert_close(row, (mean / mean.norm()).float())


def test_the_second_run_encodes_nothing(encoder):
    first, second = encoder(), encoder()
    a = first.embed(["cat", "dog"])
    assert first.n_encoded == 2
    b = second.embed(["dog", "cat", "bird"])
    assert second.n_encoded == 1
    assert_close(b[[1, 0]], a)


def test_other_weights_templates_or_activation_are_encoded_anew(clip, encoder):
    encoder().embed(["cat"])
    other = encoder(sha="b")
    other.embed(["cat"])
    torch.manual_seed(0)
    quick = LoadedClip(open_clip.model.CLIP(16, vision_cfg=VISION, text_cfg=CONFIG, quick_gelu=True).eval(), "tiny")
    quick = TextEncoder(quick, torch.device("cpu"), "a")
    quick.embed(["cat"])
    clip.templates = ("a {}",)
    fewer = encoder()
    fewer.embed(["cat"])
    assert (other.n_encoded, quick.n_encoded, fewer.n_encoded) == (1, 1, 1)


def test_a_damaged_cache_is_mended(encoder, tmp_path):
    expected = encoder().embed(["cat"])
    (path,) = (tmp_path / "text").iterdir()
    for damage in (b"", b"rubbish", path.read_bytes()[:-8]):
        path.write_bytes(damage)
        again = encoder()
        assert_close(again.embed(["cat"]), expected)
        assert again.n_encoded == 1
    np.save(path, np.zeros(16, dtype="float32"))
    assert_close(encoder().embed(["cat"]), expected)


def test_an_unwritable_cache_is_said_and_harmless(clip, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("JITTOR_OVSEG_CACHE", str(tmp_path / "file"))
    encoder = TextEncoder(clip, torch.device("cpu"), "a")
    assert encoder.embed(["cat", "dog"]).shape == (2, 16)
    assert capsys.readouterr().err.count("not cached") == 1


def test_a_vocabulary_that_is_not_clip_s_is_told():
    clip = LoadedClip(open_clip.model.CLIP(16, vision_cfg=VISION, text_cfg=CONFIG | {"vocab_size": 99}).eval(), "tiny")
    with pytest.raises(InputError, match="vocabulary"):
        TextEncoder(clip, torch.device("cpu"), "a").embed(["cat"])
