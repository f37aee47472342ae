"""Words that a model does not read to their end, or cannot tell apart: notes that name them."""

import types

import numpy as np
import open_clip
import pytest
import torch

from core.clip.truncation import tell_truncated
from core.errors import InputError
from core.segment.query import make_query

LONG = "a very long story of a cat and a dog that went into the wood " * 6  # 84 tokens and more
CONFIG = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
VISION = {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16}


@pytest.fixture
def notes(capsys):
    """The notes since it was last asked."""

    def read():
        lines = capsys.readouterr().err.splitlines()
        assert all(line.startswith("note: ") for line in lines)
        return lines

    return read


@pytest.fixture
def backbone(tmp_path, monkeypatch):
    from torch_backend import ClipBackbone

    monkeypatch.setenv("JITTOR_OVSEG_CACHE", str(tmp_path))

    def make(length=77, templates=("a {}", "a photo of a {}.")):
        torch.manual_seed(0)
        model = open_clip.model.CLIP(16, vision_cfg=VISION, text_cfg=CONFIG | {"context_length": length})
        return ClipBackbone(model, device="cpu", templates=templates)

    return make


def words_tokenizer(length, ends=True, letters=False):
    """One word, or letter, a token: ids of 3 and more between 1 and 2, or without an end."""

    def tokenize(texts, context_length=None):
        size = context_length or length
        ids = np.zeros((len(texts), size), np.int64)
        for row, text in zip(ids, texts, strict=True):
            own = [1, *(3 + sum(word.encode()) % 1000 for word in (text if letters else text.split())), *([2] if ends else [])]
            row[: len(own)] = own[:size]
            row[-1] = 2 if ends and len(own) > size else row[-1]
        return ids

    return tokenize


def test_phrases_that_are_cut_are_named_with_the_limit(backbone, notes):
    clip = backbone()
    ends = [f"{LONG} {end}" for end in ("red", "green")]
    query = make_query(clip, ["cat", *ends])
    np.testing.assert_array_equal(query.text[1], query.text[2])
    told = notes()
    assert len(told) == 3 and all("2 of the 2 templates" in line and "77 tokens" in line for line in told[:2])
    assert told[0].endswith("that the model reads") and 'red"' in told[0] and 'green"' in told[1]
    assert "equal embeddings" in told[2] and 'red"' in told[2] and 'green"' in told[2] and 'cat"' not in told[2]
    make_query(clip, query)
    assert notes() == []
    assert clip.n_encoded == 3
    make_query(backbone(), ["cat", *ends])  # the embeddings come from the cache, and the notes all the same
    assert len(notes()) == 3


@pytest.mark.parametrize("length", [16, 77])
def test_a_phrase_that_just_fits_is_not_named(backbone, notes, length):
    clip = backbone(length)
    fits = length - 2 - 5  # beside the start and the end, and the five of "a photo of a ."
    for n, told in ((fits, 0), (fits + 1, 1), (fits + 4, 1), (fits + 5, 1)):
        clip.text_embeddings(["dog " * (n - 1) + "dog"])
        lines = notes()
        assert len(lines) == told
        if told:
            assert f"{1 if n < fits + 5 else 2} of the 2 templates" in lines[0] and f"{length} tokens" in lines[0]


@pytest.mark.parametrize("tokenizer", [words_tokenizer(8), words_tokenizer(8, ends=False), words_tokenizer(32, letters=True)])
def test_other_tokenizers(notes, tokenizer):
    length = tokenizer(["x"]).shape[1]
    for n in range(1, 40):
        phrase = " ".join("abcdefgh"[i % 8] * 9 for i in range(n))
        truncated = (tokenizer([phrase], context_length=900) != 0).sum() > length
        tell_truncated(tokenizer, ["{}"], [phrase])
        assert len(notes()) == truncated


def test_a_tokenizer_that_refuses_needs_no_note(notes):
    tell_truncated(lambda texts: pytest.fail("it was asked"), ["{}"], ["x" * 1000])
    from torch_backend import ClipBackbone

    with pytest.raises(InputError, match="takes up to"):
        ClipBackbone(device="cpu").text_embeddings(["red circle " * 30])
    assert notes() == []


def test_many_that_are_cut_are_counted(notes):
    phrases = [f"{LONG} {n}" for n in range(30)]
    tell_truncated(words_tokenizer(20), ["a {}"], phrases)
    told = notes()
    assert len(told) == 21 and "in the template it is cut at the 20 tokens" in told[0] and "10 more phrases" in told[-1]
    assert max(map(len, told)) < 200


def clip_of(text):
    return types.SimpleNamespace(text_embeddings=lambda phrases: np.asarray(text, np.float32), weights_sha256="0")


def unit(*angles):
    return [[np.cos(angle), np.sin(angle), 0] for angle in angles]


def test_classes_of_equal_embeddings_are_named(notes):
    make_query(clip_of(unit(0, 1, 0, 2)), ["sky", "cat", "heaven", "dog"])
    (line,) = notes()
    assert '"sky" and "heaven" have equal embeddings' in line
    make_query(clip_of(unit(0, 1, 1 + 1e-6, 2)), ["sky", "cat, puss", "dog, hound"])
    assert notes() == []  # equal within a class is no matter
    make_query(clip_of(unit(0, 1, 2, 1 + 1e-6)), ["sky", "cat, puss", "dog"])
    (line,) = notes()
    assert '"cat" and "dog" have equal embeddings' in line
    make_query(clip_of(unit(0, 1, 2, 3, 1)), ["sky, cloud", "cat", "tom; cloud9"])
    (line,) = notes()
    assert '"cloud" and "cloud9" (of the classes "sky" and "tom") have equal embeddings' in line


def test_near_ones_and_shadowed_ones_are_not_named(notes):
    make_query(clip_of(unit(0, 1e-4, 2e-4, 3)), ["sky", "cat", "dog", "bed"])
    make_query(clip_of(unit(0, 1, 2, 1)), ["sky, bed", "cat", "bed"])  # as in published lists: `shadowed` tells of it
    assert notes() == []


def test_many_classes(notes):
    rng = np.random.default_rng(0)
    text = rng.normal(size=(1000, 32))
    text /= np.linalg.norm(text, axis=1, keepdims=True)
    text[900:925] = text[300:325]
    make_query(clip_of(text), [f"class {n}" for n in range(1000)])
    told = notes()
    assert '"class 300" and "class 900"' in told[0] and len(told) == 21 and "5 more pairs" in told[-1]
