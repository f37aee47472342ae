"""The embedded model: its tokenizer, its files, and the training that makes it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from core import InputError, patch_embeddings
from core.scenes import BACKGROUNDS, HELD_OUT, PAIRS, TRAINING, scene_rng
from torch_backend import ClipBackbone
from torch_backend.clip.embedded import FOLDER, WEIGHTS, WordTokenizer, load_embedded

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
sys.path.insert(0, str(SCRIPTS))

from embedded_model import pictures, step  # noqa: E402  (the workshop's modules, found through the line above)


@pytest.fixture(scope="module")
def embedded():
    return load_embedded()


@pytest.fixture(scope="module")
def tokenizer(embedded):
    return embedded[1]


def test_tokens_are_start_words_end_padding():
    tokenizer = WordTokenizer(["red", "circle"], 6)
    assert tokenizer(["red circle", "Circle"]).tolist() == [[1, 2, 3, 4, 0, 0], [1, 3, 4, 0, 0, 0]]


def test_an_unknown_word_is_named_beside_those_known(tokenizer):
    with pytest.raises(InputError, match="'zebra'") as caught:
        tokenizer(["red circle", "red zebra"])
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for phrase in (*PAIRS, *BACKGROUNDS) for word in phrase.split())


def test_a_phrase_too_long_is_refused(tokenizer):
    with pytest.raises(InputError, match="takes up to 22"):
        tokenizer(["red " * 23])
    assert tokenizer(["red " * 22]).shape == (1, 24)


def test_the_model_is_small_and_complete(embedded):
    model, tokenizer, preset = embedded
    assert WEIGHTS.stat().st_size < 16e6
    assert not model.training
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert tokenizer(list(PAIRS)).max() < model.token_embedding.num_embeddings
    assert all(len(preset[key]) == 3 for key in ("mean", "std"))
    assert preset["short_side"] % model.visual.patch_size[0] == 0
    assert (FOLDER / "CARD.md").is_file()


def test_other_weights_are_refused(tmp_path):
    from safetensors.torch import save_file

    with pytest.raises(InputError, match="no weights at"):
        load_embedded(tmp_path / "absent.safetensors")
    save_file({"other": torch.zeros(2)}, tmp_path / "other.safetensors")
    (tmp_path / "text.safetensors").write_text("not safetensors")
    for name in ("other", "text"):
        with pytest.raises(InputError, match="does not hold weights of the embedded model"):
            load_embedded(tmp_path / f"{name}.safetensors")


@torch.no_grad()
def test_training_computes_what_open_clip_and_the_heads_compute(embedded):
    model, tokenizer, _ = embedded
    pixels = torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    corners = np.zeros((2, 2), int)
    image, tokens_before_last = step.encode_image(model.visual, pixels, corners)
    paths = step.patch_paths(model.visual, tokens_before_last, keys=True)
    tokens = tokenizer(["a red circle on grass", "moon"])
    assert torch.allclose(image, model.encode_image(pixels), rtol=1e-4, atol=1e-4)
    expected = model.encode_text(torch.from_numpy(tokens))
    assert torch.allclose(step.encode_text(model, tokens), expected, rtol=1e-4, atol=1e-4)
    features = ClipBackbone(model, device="cpu").features(pixels)
    for path, method, options in zip(paths, ("maskclip", "naclip"), ({}, {"attn_strategy": "kk"}), strict=True):
        head = patch_embeddings(features, method=method, backend="numpy", **options)
        assert np.allclose(path.view(2, 16, 16, -1).numpy(), head, rtol=1e-3, atol=1e-3)


def test_the_bundled_pictures_are_drawn_again_to_the_pixel(tmp_path):
    pictures.draw_all(tmp_path, pictures.SEED)
    bundled = sorted(path.name for path in pictures.PICTURES.iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == bundled and len(bundled) == 13
    assert (tmp_path / "scenes.json").read_bytes() == (pictures.PICTURES / "scenes.json").read_bytes()
    for name in [name for name in bundled if name.endswith(".png")]:
        mine, theirs = (Image.open(folder / name) for folder in (tmp_path, pictures.PICTURES))
        assert mine.mode == theirs.mode and mine.getpalette() == theirs.getpalette(), name
        assert np.array_equal(mine, theirs), name


def test_windows_take_their_place_in_the_position_grid():
    embedding = torch.arange(17.0)[:, None]
    corners = np.array([[0, 0], [2, 1]])
    assert step.window_positions(embedding, 2, corners)[..., 0].tolist() == [[1, 2, 5, 6], [10, 11, 14, 15]]


def test_training_never_shows_or_names_a_held_out_pair():
    stage = step.Stage(16, 1, 8, 1e-3, 1e-3, (0.0, 0.5, 0.5), (0.3, 0.4), pool=200)
    rng = scene_rng(TRAINING, 0)
    pool = step.make_pool(stage, rng)
    held_out = [step.FACT_INDEX[pair] for pair in HELD_OUT]
    captions = [step.caption(*shown, rng) for shown in zip(pool.objects, pool.backgrounds, strict=True)]
    assert not pool.facts[:, held_out].any()
    assert not any(pair in text for text, _ in captions for pair in HELD_OUT)
    assert not set(HELD_OUT) & set(step.PATCH_PHRASES)


def test_captions_state_only_facts_and_in_known_words(tokenizer):
    rng = scene_rng(TRAINING, 1)
    objects, background = ("red circle", "blue cross", "white star", "black moon"), "brick"
    facts = step.facts_of(objects, background)
    for _ in range(300):
        text, stated = step.caption(objects, background, rng)
        assert set(stated) <= set(facts)
        assert all(fact in text for fact in stated)
        tokenizer([text])


def test_a_caption_that_is_true_of_another_picture_is_no_negative():
    facts = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 1.0]])
    logits = torch.tensor([[0.0, 9.0], [9.0, 0.0]])
    stated = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    assert step.contrastive_loss(logits, facts, stated) == pytest.approx(0)
    stated = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    assert step.contrastive_loss(logits, facts, stated) == pytest.approx(9, abs=1e-3)


def test_the_patch_loss_wants_some_patches_to_match():
    present, scale = torch.tensor([[True, False]]), torch.tensor(20.0)
    one_matches = torch.tensor([[[0.9, 0.0], [0.0, 0.0]]])
    other_matches = one_matches.flip(2)
    right, wrong = (step.patch_loss(c, present, scale) for c in (one_matches, other_matches))
    assert right < 1e-3 < 10 < wrong


@pytest.mark.slow
def test_a_quick_training_lowers_the_loss_and_writes_a_model(tmp_path):
    command = [sys.executable, str(SCRIPTS / "embedded_model" / "train.py"), "--quick", "--out", str(tmp_path)]
    log = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    losses = [float(loss) for loss in re.findall(r"loss (\d+\.\d+)", log)]
    assert losses[-1] < 0.8 * losses[0]
    weights = tmp_path / "weights.safetensors"
    assert json.loads((tmp_path / "config.json").read_text())["training"]["seed"] == 0
    load_embedded(weights)
    subprocess.run(command, capture_output=True, text=True, check=True)
