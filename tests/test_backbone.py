"""The open_clip tower opened up: features, other grids, what is refused."""

import numpy as np
import open_clip
import pytest
import torch
from compare import assert_close
from open_clip.model import CLIP
from towers import seeded_clip

from core import InputError, patch_embeddings
from torch_backend import ClipBackbone
from torch_backend.clip.tower import position_embedding

TEXT = {"context_length": 16, "vocab_size": 128, "width": 64, "heads": 2, "layers": 1}
VISION = {"image_size": 32, "layers": 3, "width": 64, "head_width": 32, "patch_size": 16}


def pixels(rng, batch=2, height=32, width=48):
    return rng.standard_normal((batch, 3, height, width)).astype("float32")


@pytest.mark.parametrize("quick_gelu", [True, False])
def test_vanilla_is_the_model_s_own_forward(rng, quick_gelu):
    model = seeded_clip(3, image_size=64, layers=3, quick_gelu=quick_gelu)
    model.visual.output_tokens = True
    x = pixels(rng, height=64, width=64)
    with torch.no_grad():
        _, tokens = model.visual(torch.from_numpy(x))
        expected = (tokens @ model.visual.proj).numpy()
    features = ClipBackbone(model, device="cpu").features(x)
    assert features.weights.activation == ("quick_gelu" if quick_gelu else "gelu")
    assert_close(patch_embeddings(features, "vanilla", "torch").reshape(expected.shape), expected, "head")


@pytest.mark.parametrize(("height", "width", "grid"), [(48, 80, (3, 5)), (16, 16, (1, 1)), (47, 33, (2, 2)), (32, 128, (2, 8))])
def test_any_grid(rng, height, width, grid):
    features = ClipBackbone(seeded_clip(3, image_size=64, layers=3), device="cpu").features(pixels(rng, 1, height, width))
    assert features.grid == grid
    assert features.hidden[0].shape == (1, 1 + grid[0] * grid[1], 128)
    assert len(features.hidden) == 2


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision_is_near_and_another(rng, precision):
    """Another result than float32's, else the option does nothing; the attention that heads read is not rounded."""
    model, x = seeded_clip(3, image_size=64, layers=3), pixels(rng, height=64, width=64)
    exact = ClipBackbone(model, device="cpu").features(x, attention=True)
    half = ClipBackbone(model, device="cpu", precision=precision).features(x, attention=True)
    assert half.hidden[-1].dtype == half.attention.dtype == torch.float32
    difference = (half.hidden[-1] - exact.hidden[-1]).abs().max() / exact.hidden[-1].abs().max()
    assert 1e-6 < difference < 3e-2
    torch.testing.assert_close(half.attention.sum(-1), torch.ones(half.attention.shape[:-1]))


def test_an_unknown_precision_is_told():
    with pytest.raises(InputError, match="precision"):
        ClipBackbone(seeded_clip(3, image_size=64, layers=2), device="cpu", precision="int8")


def test_position_embedding_is_the_reference_s_interpolation():
    """The grid resized bicubically with the scale factors (h + 0.1) / G, by PyTorch's own interpolate."""
    visual = seeded_clip(3, image_size=64, layers=2).visual
    field = visual.positional_embedding[1:].detach().reshape(1, 4, 4, 128).permute(0, 3, 1, 2)
    for h, w in [(3, 5), (2, 8), (7, 4), (4, 5)]:
        scale = ((h + 0.1) / 4, (w + 0.1) / 4)
        expected = torch.nn.functional.interpolate(field, scale_factor=scale, mode="bicubic")
        assert expected.shape[-2:] == (h, w)
        actual = position_embedding(visual, (h, w)).detach()
        assert_close(actual[1:], expected.permute(0, 2, 3, 1).reshape(h * w, 128))
        assert_close(actual[:1], visual.positional_embedding[:1].detach())
    assert_close(position_embedding(visual, (4, 4)).detach(), visual.positional_embedding.detach())


def test_a_grid_of_as_many_patches_as_trained_is_still_resized():
    visual = seeded_clip(3, image_size=64, layers=2).visual
    wide = position_embedding(visual, (2, 8)).detach()
    assert not np.allclose(wide, visual.positional_embedding.detach())


def test_a_batch_is_a_loop(rng):
    backbone, x = ClipBackbone(seeded_clip(3, image_size=64, layers=3), device="cpu"), pixels(rng, 3)
    together = backbone.features(x, attention=True)
    for i in range(3):
        alone = backbone.features(x[i : i + 1], attention=True)
        for a, b in zip(alone.hidden, together.hidden, strict=True):
            assert_close(a, b[i : i + 1])
        assert_close(alone.attention, together.attention[i : i + 1])


def test_attention_weights_are_of_the_last_but_one_block(rng):
    model = seeded_clip(3, image_size=64, layers=3)
    backbone, x = ClipBackbone(model, device="cpu"), pixels(rng, 1)
    features = backbone.features(x, attention=True)
    block, before = model.visual.transformer.resblocks[1], features.hidden[0]
    with torch.no_grad():
        y = block.ln_1(before)
        _, expected = block.attn(y, y, y, need_weights=True, average_attn_weights=False)
    assert_close(features.attention, expected)
    assert backbone.features(x).attention is None


@pytest.mark.parametrize("vision", [
    {"layers": (1, 1, 1, 1), "width": 32, "image_size": 32},
    VISION | {"pool_type": "avg"},
    VISION | {"final_ln_after_pool": True},
    VISION | {"attentional_pool": True, "attn_pooler_queries": 4, "attn_pooler_heads": 2},
    VISION | {"ls_init_value": 0.1},
    VISION | {"scale_heads": True, "block_type": "custom"},
    VISION | {"layers": 1},
])  # fmt: skip
def test_towers_that_the_heads_cannot_read_are_refused(vision):
    model = CLIP(64, vision_cfg=vision, text_cfg=TEXT)
    with pytest.raises(InputError, match="cannot serve the heads"):
        ClipBackbone(model, device="cpu")


@pytest.mark.parametrize("name", ["RN50", "ViT-B-16-SigLIP", "coca_ViT-B-32"])
def test_named_architectures_are_refused_before_their_weights_are_fetched(name, monkeypatch):
    import torch_backend.clip.loading as loading

    monkeypatch.setattr(loading, "fetch_weights", lambda *a, **k: pytest.fail("weights were fetched"))
    tag = open_clip.list_pretrained_tags_by_model(name)[0]
    with pytest.raises(InputError, match="ViT-B-16"):
        ClipBackbone(name, tag, device="cpu")


def test_wrong_pixels_are_told(rng):
    backbone = ClipBackbone(seeded_clip(3, image_size=64, layers=2), device="cpu")
    for x in (pixels(rng)[0], pixels(rng)[:, :2], pixels(rng, 1, 8, 32)):
        with pytest.raises(InputError, match="pixels must be"):
            backbone.features(x)


def test_a_gpu_that_is_not_there_is_told(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="no GPU"):
        ClipBackbone(seeded_clip(3, layers=2), device="cuda")
    with pytest.raises(InputError, match="cpu or cuda"):
        ClipBackbone(seeded_clip(3, layers=2), device="tpu")
