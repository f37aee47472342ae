"""Other vision models as features of a picture, offline: small timm models with random weights, and the CLIP itself."""

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models.eva import Eva
from timm.models.vision_transformer_sam import VisionTransformerSAM
from torch.nn import functional
from towers import random_features

import torch_backend.weights.download as download
from core import InputError, Segmenter
from core.clip.features import MIDDLE_LAYER, self_features
from torch_backend.vision.timm_models import SHORT_NAMES, ExternalModel, build_model, input_size, load_external

IMAGENET = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
HALF = np.array([0.5] * 3), np.array([0.5] * 3)  # what timm states for its test_vit


def randomise(model):
    """Every weight at random: a fresh model has biases, positions and tokens of zero, which hide a wrong one."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for x in model.parameters():
            x.copy_(torch.randn(x.shape, generator=generator) * 0.2 + (x.ndim == 1))
    return model.eval()


@pytest.fixture(scope="module")
def state():
    """The weights of a whole test_vit, its classifier included."""
    return randomise(timm.create_model("test_vit")).state_dict()


@pytest.fixture(scope="module")
def vit_file(tmp_path_factory, state):
    path = tmp_path_factory.mktemp("weights") / "vit.safetensors"
    save_file(state, path)
    return path


@pytest.fixture
def pictures(rng):
    """Two pictures of 3 x 5 patches."""
    return rng.integers(0, 256, (2, 48, 80, 3), dtype=np.uint8)


def pixels_of(images, mean, std):
    return torch.from_numpy(((images / 255 - mean) / std).transpose(0, 3, 1, 2).astype(np.float32))


def small_register_vit():
    return timm.create_model("test_vit", reg_tokens=4, num_classes=0, dynamic_img_size=True)


def small_dinov3():
    return Eva(
        img_size=64, patch_size=16, embed_dim=32, depth=2, num_heads=2, num_classes=0, num_reg_tokens=4, use_abs_pos_emb=False,
        use_rot_pos_emb=True, rope_type="dinov3", dynamic_img_size=True,
    )  # fmt: skip


def small_sam(**options):
    sizes = {"img_size": 128, "patch_size": 16, "embed_dim": 32, "depth": 2, "num_heads": 2, "num_classes": 0, "neck_chans": 24}
    return VisionTransformerSAM(**sizes | {"window_size": 3, "global_attn_indexes": (1,), "use_rel_pos": True} | options)


def test_every_file_of_the_same_weights_gives_the_same_model(tmp_path, state, vit_file, pictures):
    bare = {key: x for key, x in state.items() if not key.startswith("head.")}
    torch.save(state, tmp_path / "whole.pt")
    torch.save({"model": bare}, tmp_path / "as-mae.pth")
    torch.save({"state_dict": {f"module.{key}": x for key, x in bare.items()}, "epoch": 3}, tmp_path / "trained.pt")
    first = load_external(f"test_vit.r160_in1k:{vit_file}", "cpu")
    wanted = first.features(pictures)
    assert first.name == "test_vit.r160_in1k"
    assert len(first.weights_sha256) == 64
    for name in ("whole.pt", "as-mae.pth", "trained.pt"):
        other = load_external(f"test_vit:{tmp_path / name}", torch.device("cpu"))
        assert torch.equal(other.features(pictures), wanted), name
        assert other.name == first.name
        assert "state_dict" not in other.model.pretrained_cfg


def test_features_are_the_last_normed_patches_without_the_class_token(state, vit_file, pictures):
    """Against a whole model at the size of its position table, where timm resizes nothing."""
    whole = timm.create_model("test_vit", img_size=(48, 80))
    table = state["pos_embed"]
    grid = functional.interpolate(table[:, 1:].mT.reshape(1, -1, 10, 10), (3, 5), mode="bicubic", antialias=True)
    whole.load_state_dict(state | {"pos_embed": torch.cat([table[:, :1], grid.flatten(2).mT], dim=1)})
    with torch.no_grad():
        tokens = whole.eval().forward_features(pixels_of(pictures, *HALF))
    assert tokens.shape == (2, 1 + 15, 64)
    found = load_external(f"test_vit:{vit_file}").features(pictures)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, tokens[:, 1:].mT.reshape(2, 64, 3, 5), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("build", [small_register_vit, small_dinov3])
def test_register_tokens_are_dropped(build, pictures):
    model = randomise(build())
    mean, std = HALF if build is small_register_vit else IMAGENET
    with torch.no_grad():
        tokens = model.forward_features(pixels_of(pictures, mean, std))
    width = tokens.shape[-1]
    assert tokens.shape[1] == 1 + 4 + 15
    found = ExternalModel(model, "in hand").features(pictures)
    torch.testing.assert_close(found, tokens[:, 5:].mT.reshape(2, width, 3, 5), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("shape", "size"), [((48, 80), (80, 128)), ((90, 30), (128, 48)), ((128, 128), (128, 128))])
def test_sam_sees_its_own_size_and_gives_the_output_of_its_neck(rng, shape, size):
    model = randomise(small_sam())
    images = rng.integers(0, 256, (1, *shape, 3), dtype=np.uint8)
    assert input_size(model, *shape) == size
    with torch.no_grad():
        pixels = functional.interpolate(pixels_of(images, *IMAGENET), size, mode="bilinear", align_corners=False)
        wanted = model.forward_features(pixels)
    assert wanted.shape == (1, 24, size[0] // 16, size[1] // 16)
    torch.testing.assert_close(ExternalModel(model, "in hand").features(images), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("build", [small_register_vit, small_dinov3, small_sam])
def test_a_batch_equals_the_loop(build, rng, monkeypatch):
    model = ExternalModel(randomise(build()), "in hand")
    images = rng.integers(0, 256, (5, 40, 70, 3), dtype=np.uint8)
    loop = torch.cat([model.features(image[None]) for image in images])
    torch.testing.assert_close(model.features(images), loop, rtol=1e-4, atol=1e-5)
    two_pictures = 2 * loop.shape[2] * loop.shape[3]
    monkeypatch.setattr("torch_backend.vision.timm_models.PLACES_AT_ONCE", two_pictures)
    torch.testing.assert_close(model.features(images), loop, rtol=1e-4, atol=1e-5)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.model.modules())


def test_no_part_of_a_picture_is_cut_off(vit_file, rng):
    """Sides that patches do not divide are resized, so their last pixels count."""
    model = load_external(f"test_vit:{vit_file}")
    assert input_size(model.model, 55, 71) == (48, 64)
    assert input_size(model.model, 57, 73) == (64, 80)
    assert input_size(model.model, 3, 200) == (16, 192)
    images = rng.integers(0, 256, (1, 55, 71, 3), dtype=np.uint8)
    pixels = functional.interpolate(pixels_of(images, *HALF), (48, 64), mode="bilinear", align_corners=False)
    with torch.no_grad():
        tokens = model.model.forward_features(pixels)[:, 1:]
    torch.testing.assert_close(model.features(images), tokens.mT.reshape(1, 64, 3, 4), rtol=1e-4, atol=1e-5)
    without = images.copy()
    without[:, -1], without[:, :, -1] = 0, 0
    assert not torch.allclose(model.features(without), model.features(images), atol=1e-3)


@pytest.mark.parametrize(
    ("name", "grid", "width"),
    [("sam", (64, 43), 256), ("dino", (42, 28), 768), ("dino16", (21, 14), 768), ("dinov2", (24, 16), 768),
     ("dinov2reg", (24, 16), 768), ("mae", (21, 14), 768), ("dinov3", (21, 14), 768)],
)  # fmt: skip
def test_the_named_models_take_a_window_that_is_not_square(name, grid, width):
    """The real architectures on PyTorch's meta device, which knows shapes and computes nothing."""
    config = timm.get_pretrained_cfg(SHORT_NAMES[name], allow_unregistered=False)
    assert config.hf_hub_id == f"timm/{SHORT_NAMES[name]}"
    np.testing.assert_allclose((config.mean, config.std), IMAGENET)
    with torch.device("meta"):
        model = build_model(SHORT_NAMES[name]).eval()
    found = ExternalModel(model, name).features(np.zeros((2, 336, 224, 3), np.uint8))
    assert found.shape == (2, width, *grid)
    assert found.device.type == "meta"


@pytest.mark.parametrize("save", [torch.save, lambda x, path: torch.save(x, path, _use_new_zipfile_serialization=False)])
@pytest.mark.parametrize(
    ("wrapper", "prefix"),
    [("model_state_dict", "_orig_mod."), ("ema", "module._orig_mod."), ("net", ""), ("a", "backbone."), ("b", "visual.trunk.")],
)
def test_wrappers_prefixes_and_kinds_of_any_name(tmp_path, state, vit_file, pictures, save, wrapper, prefix):
    heads = {"head.weight": torch.zeros(2, 64)}
    path = tmp_path / "hub.safetensors"
    save({wrapper: {prefix + key: x for key, x in (state | heads).items()}, "epoch": 3, "optimizer": {"norm.weight": 1}}, path)
    wanted = load_external(f"test_vit:{vit_file}").features(pictures)
    assert torch.equal(load_external(f"test_vit:{path}").features(pictures), wanted)
    save_file({prefix + key: x for key, x in state.items()}, tmp_path / "blob")
    assert torch.equal(load_external(f"test_vit:{tmp_path / 'blob'}").features(pictures), wanted)


def test_of_a_teacher_and_its_student_the_teacher_is_taken(tmp_path, state, vit_file, pictures, capsys):
    """As DINO's own files hold both."""
    student = {f"module.backbone.{key}": x + 1 for key, x in state.items()}
    torch.save({"student": student, "teacher": {f"backbone.{key}": x for key, x in state.items()}}, tmp_path / "dino.pth")
    wanted = load_external(f"test_vit:{vit_file}").features(pictures)
    assert torch.equal(load_external(f"test_vit:{tmp_path / 'dino.pth'}").features(pictures), wanted)
    assert "teacher.backbone is taken" in capsys.readouterr().err


def in_transformers(state):
    """A timm state under the names of transformers' ViT, as it writes DINO's and MAE's."""
    theirs = {}
    pairs = [("norm1", "layernorm_before"), ("norm2", "layernorm_after"), ("attn.proj", "attention.output.dense"),
             ("mlp.fc1", "intermediate.dense"), ("mlp.fc2", "output.dense"), ("norm", "layernorm"),
             ("patch_embed.proj", "embeddings.patch_embeddings.projection")]  # fmt: skip
    for key, x in state.items():
        block, stem, kind = "", *key.rpartition(".")[::2]
        if key.startswith("blocks."):
            _, number, stem = stem.split(".", 2)
            block = f"encoder.layer.{number}."
        if stem == "attn.qkv":
            parts = zip(("query", "key", "value"), x.chunk(3), strict=True)
            theirs |= {f"{block}attention.attention.{part}.{kind}": y.clone() for part, y in parts}
        elif stem in dict(pairs):
            theirs[f"{block}{dict(pairs)[stem]}.{kind}"] = x
    return theirs | {"embeddings.cls_token": state["cls_token"], "embeddings.position_embeddings": state["pos_embed"]}


@pytest.mark.parametrize("prefix", ["", "vit."])
def test_transformers_names(tmp_path, state, vit_file, pictures, prefix):
    theirs = {prefix + key: x for key, x in in_transformers(state).items()}
    theirs |= {prefix + "pooler.dense.weight": torch.zeros(2, 2)} | ({"classifier.weight": torch.ones(2)} if prefix else {})
    save_file(theirs, tmp_path / "model.safetensors")
    wanted = load_external(f"test_vit:{vit_file}").features(pictures)
    assert torch.equal(load_external(f"test_vit:{tmp_path / 'model.safetensors'}").features(pictures), wanted)


@pytest.mark.filterwarnings("ignore")
def test_tensors_that_are_no_weights_are_told(tmp_path, state):
    for odd, says in (
        (torch.ones(1).expand(10**6, 10**6), "repeated"), (torch.ones(64).to_sparse(), "sparse"),
        (torch.empty(64, device="meta"), "meta device"), (torch.nested.nested_tensor([torch.ones(2)]), "nested"),
        (torch.quantize_per_tensor(torch.ones(64), 0.1, 0, torch.qint8), "quantised"),
        (torch.ones(64).to(torch.cfloat), "complex64"),
    ):  # fmt: skip
        for key in ("norm.weight", "pos_embed", "patch_embed.proj.weight"):
            torch.save({"model": state | {key: odd}}, tmp_path / "w.pt")
            with pytest.raises(InputError, match=says) as error:
                load_external(f"test_vit:{tmp_path / 'w.pt'}")
            one_line(error)


def test_paths_that_lead_nowhere_are_told(tmp_path):
    loop = tmp_path / "loop.pt"
    loop.symlink_to(loop)
    for path in ("a" * 300, loop, tmp_path, "new\nline\x1b", "nul\0", tmp_path / ("b" * 256) / "x"):
        with pytest.raises(InputError) as error:
            load_external(f"test_vit:{path}")
        one_line(error)


def one_line(error):
    assert "\n" not in str(error.value)


def test_names_that_cannot_be_had_are_told():
    for spec, says in [
        ("dinno", "choose self, sam, dino, "), ("resnet50", "unknown vision model"), ("", "unknown vision model"),
        ("beit_base_patch16_224", "unknown vision model"), ("hf-hub:timm/x", "unknown vision model 'hf-hub'"),
        ("test_vit.nope", "Invalid pretrained tag"), ("dino:", "no file after the colon"), ("self:x.pt", "takes no file"),
        ("dino:missing.pt", "no file missing.pt"), ("test_vit4", "give test_vit4:FILE"),
    ]:  # fmt: skip
        with pytest.raises(InputError, match=says) as error:
            load_external(spec)
        one_line(error)


def test_files_that_hold_other_weights_are_told(tmp_path, state):
    other = timm.create_model("test_vit2", num_classes=0).state_dict()
    finer = timm.create_model("test_vit", num_classes=0, patch_size=8).state_dict()
    lacking = {key: x for key, x in state.items() if key != "norm.weight"}
    for name, weights, says in [
        ("other", other, "does not hold"), ("finer", finer, "sides of 8 pixels, not 16"), ("lacking", lacking, "norm.weight"),
        ("extra", state | {"reg_token": torch.zeros(1, 4, 64)}, "reg_token"), ("noise", {"x": torch.zeros(2)}, "does not hold"),
        ("openai", {"visual.class_embedding": torch.zeros(64)}, "does not hold"),
    ]:  # fmt: skip
        torch.save(weights, tmp_path / f"{name}.pt")
        with pytest.raises(InputError, match=says) as error:
            load_external(f"test_vit:{tmp_path / name}.pt")
        one_line(error)
        assert str(tmp_path / name) in str(error.value)
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(InputError, match="cannot read the weights") as error:
        load_external(f"test_vit:{tmp_path / 'text.safetensors'}")
    one_line(error)


def test_without_network_it_is_told_at_once(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(download, "getproxies", dict)
    with pytest.raises(InputError, match=r"as dino:FILE \(there is no network") as error:
        load_external("dino")
    one_line(error)
    assert "vit_base_patch8_224.dino" in str(error.value)


def test_the_hub_s_cache_serves_a_name_offline(tmp_path, monkeypatch, state, vit_file, pictures):
    """The hub's own client finds the file in a cache laid out as it lays it out, with no network."""
    from huggingface_hub import constants

    folder = tmp_path / "models--timm--test_vit.r160_in1k"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("abc")
    (folder / "snapshots" / "abc").mkdir(parents=True)
    save_file(state, folder / "snapshots" / "abc" / "model.safetensors")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(download, "hub_reachable", lambda: False)
    cached, given = load_external("test_vit"), load_external(f"test_vit:{vit_file}")
    assert cached.weights_sha256 == given.weights_sha256
    assert torch.equal(cached.features(pictures), given.features(pictures))


def test_images_of_another_shape_are_told(vit_file):
    model = load_external(f"test_vit:{vit_file}")
    for shape in ((48, 48, 3), (1, 3, 48, 48), (1, 0, 48, 3)):
        with pytest.raises(InputError, match="must be"):
            model.features(np.zeros(shape, np.uint8))


def test_a_segmenter_reads_another_model(vit_file, rng):
    picture = rng.integers(0, 256, (70, 100, 3), dtype=np.uint8)
    results = [
        Segmenter("fsa", "numpy", device="cpu", external=f"test_vit:{vit_file}", batch_size=n)(picture, ["red", "blue"])
        for n in (1, 5)
    ]
    assert results[0].labels.shape == (70, 100)
    np.testing.assert_allclose(results[0].scores, results[1].scores, atol=1e-4)
    alone = Segmenter("fsa", "numpy", device="cpu", external="self")(picture, ["red", "blue"])
    assert np.abs(results[0].scores - alone.scores).max() > 1e-3


@pytest.mark.parametrize(("layers", "layer"), [(4, 1), (9, 4), (10, 8), (12, 8)])
def test_a_clip_s_own_features_are_its_middle_patches(ops, rng, layers, layer):
    """With 9 blocks the last that is kept is x[7]: a tower too shallow for block 8."""
    features = random_features(rng, grid=(3, 5), layers=layers)
    found = ops.to_numpy(self_features(ops, features.to(ops)))
    assert found.shape == (2, 16, 3, 5)
    assert MIDDLE_LAYER == 8
    for row in range(3):
        for column in range(5):
            np.testing.assert_array_equal(found[:, :, row, column], features.hidden[layer][:, 1 + row * 5 + column])
