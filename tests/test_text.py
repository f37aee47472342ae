"""Phrases in templates, and their cache."""

import numpy as np
import open_clip
import pytest
import torch
from compare import assert_close

from core import InputError
from core.clip.text import PhraseEmbeddings
from torch_backend import ClipBackbone
from torch_backend.clip.loading import TEMPLATES

CONFIG = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
VISION = {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16}


def tiny_model(seed=0, vocab_size=49408, quick_gelu=False):
    torch.manual_seed(seed)
    return open_clip.model.CLIP(16, vision_cfg=VISION, text_cfg=CONFIG | {"vocab_size": vocab_size}, quick_gelu=quick_gelu)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A folder of the test's own for the embeddings."""
    monkeypatch.setenv("JITTOR_OVSEG_CACHE", str(tmp_path))
    return tmp_path / "text"


@pytest.fixture
def clip(cache):
    """A fresh backbone of the same weights at every call, or of others."""
    return lambda templates=None, **others: ClipBackbone(tiny_model(**others), device="cpu", templates=templates)


@pytest.fixture
def phrases(cache):
    """Fresh embeddings without a tower: a direction by the letters of the templates' texts."""

    def encode(texts):
        total = sum(np.eye(16)[ord(letter) % 16] for text in texts for letter in text)
        return (total / np.linalg.norm(total)).astype(np.float32)

    return lambda *identity, templates=("a {}", "{}"): PhraseEmbeddings(encode, templates, identity or ("weights", "gelu"))


def test_there_are_80_templates(clip):
    assert len(TEMPLATES) == 80
    assert TEMPLATES[0] == "a bad photo of a {}."
    assert clip().templates == TEMPLATES


def test_an_embedding_is_the_normalised_mean_over_the_templates(clip):
    model, tokenizer = tiny_model(), open_clip.SimpleTokenizer(context_length=77)
    actual = clip().text_embeddings(["cat", "sofa"])
    for row, phrase in zip(actual, ["cat", "sofa"], strict=True):
        with torch.no_grad():
            each = model.encode_text(tokenizer([t.format(phrase) for t in TEMPLATES])).double()
        mean = (each / each.norm(dim=-1, keepdim=True)).mean(0)
        assert_close(row, (mean / mean.norm()).float())


def test_the_second_run_encodes_nothing(clip):
    first, second = clip(), clip()
    a = first.text_embeddings(["cat", "dog"])
    assert first.n_encoded == 2
    b = second.text_embeddings(["dog", "cat", "bird"])
    assert second.n_encoded == 1
    assert_close(b[[1, 0]], a)


def test_other_weights_templates_or_activation_are_encoded_anew(clip):
    same, *others = clip(), clip(seed=1), clip(quick_gelu=True), clip(("a {}",))
    clip().text_embeddings(["cat"])
    for backbone in (same, *others):
        backbone.text_embeddings(["cat"])
    assert [backbone.n_encoded for backbone in (same, *others)] == [0, 1, 1, 1]


def test_templates_of_one_s_own_are_used_and_reported(clip):
    backbone = clip(["a {}", "the {}"])
    assert backbone.templates == ("a {}", "the {}")
    separate = [clip([template]).text_embeddings(["cat"])[0] for template in backbone.templates]
    mean = np.mean(separate, axis=0)
    assert_close(backbone.text_embeddings(["cat"])[0], mean / np.linalg.norm(mean))
    for wrong in ([], ["a photo"], ["{} and {}"], "a {}"):
        with pytest.raises(InputError, match="templates must be"):
            clip(wrong)


def test_what_decides_an_embedding_decides_where_it_is_kept(phrases):
    phrases().embed(["cat"])
    again, weights, templates = phrases(), phrases("other", "gelu"), phrases(templates=("{}",))
    for one in (again, weights, templates):
        one.embed(["cat"])
    assert [one.n_encoded for one in (again, weights, templates)] == [0, 1, 1]
    assert np.array_equal(again.embed(["cat"]), weights.embed(["cat"]))
    assert not np.allclose(again.embed(["cat"]), templates.embed(["cat"]))


def test_a_damaged_cache_is_mended_and_said_once(phrases, cache, capsys):
    expected = phrases().embed(["cat", "dog"])
    whole = {path: path.read_bytes() for path in cache.iterdir()}
    slightly = bytearray(next(iter(whole.values())))
    slightly[-2] ^= 1  # of a number's exponent or upper digits: still a sound array of about unit length
    for damage in (b"", b"rubbish", slightly, bytes(slightly[:-8]), b"PK\3\4", b"\x93NUMPY\1\0v\0{'descr'"):
        for path in whole:
            path.write_bytes(damage)
        again = phrases()
        assert np.array_equal(again.embed(["cat", "dog"]), expected)
        assert again.n_encoded == 2 and capsys.readouterr().err.count("some are damaged") == 1
        assert phrases().embed(["cat", "dog"]).tolist() == expected.tolist() and capsys.readouterr().err == ""
    assert {path: path.read_bytes() for path in cache.iterdir()} == whole


def test_what_an_older_version_kept_is_not_read(phrases, cache):
    cache.mkdir(parents=True)
    np.save(cache / f"{phrases()._key('cat')}.npy", np.eye(16, dtype=np.float32)[0])
    one = phrases()
    one.embed(["cat"])
    assert one.n_encoded == 1


def test_an_unwritable_cache_is_said_and_harmless(phrases, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("JITTOR_OVSEG_CACHE", str(tmp_path / "file"))
    assert phrases().embed(["cat", "dog"]).shape == (2, 16)
    assert capsys.readouterr().err.count("not cached") == 1


def test_a_vocabulary_that_is_not_clip_s_is_told(clip):
    with pytest.raises(InputError, match="vocabulary"):
        clip(vocab_size=99).text_embeddings(["cat"])
