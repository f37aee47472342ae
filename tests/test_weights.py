"""Files that hold a CLIP's weights in one way or another: all are read, and give the same model."""

import json
import zipfile

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import save_file
from test_loading import TINY, archive, state, tiny_architecture  # noqa: F401 (fixtures)

import torch_backend.clip.loading as loading
from core import InputError
from torch_backend import ClipBackbone


def load(path):
    return ClipBackbone("tiny-16", str(path), device="cpu").model.state_dict()


def assert_same(path, state):  # noqa: F811
    loaded = load(path)
    assert all(torch.equal(x, state[key]) for key, x in loaded.items())


def refused(path):
    with pytest.raises(InputError) as error:
        load(path)
    message = str(error.value)
    assert "\n" not in message and "\x1b" not in message and len(message) < 1500
    return message


@pytest.mark.parametrize(
    "prefix",
    [
        "_orig_mod.",
        "module._orig_mod.",
        "model.",
        "clip.",
        "module.module.",
        "net.backbone.",
        "a.b.c.",
        "visual.",
        "0.",
        "text.",
    ],
)
@pytest.mark.parametrize("ending", ["pt", "SAFETENSORS", "blob"])
def test_any_prefix(tmp_path, state, prefix, ending):  # noqa: F811
    path = tmp_path / f"w.{ending}"
    renamed = {prefix + key: x for key, x in state.items()}
    torch.save(renamed, path) if ending == "pt" else save_file(renamed, path)
    assert_same(path, state)


@pytest.mark.parametrize(
    "wrappers",
    [["model_state_dict"], ["ema"], ["model_ema"], ["teacher"], ["net"], ["module"], ["a", "b", "c"], [0], ["a", 1, "b.c"]],
)
def test_any_wrapper(tmp_path, state, wrappers):  # noqa: F811
    tree = {f"module.{key}": x for key, x in state.items()}
    for key in reversed(wrappers):
        tree = {key: tree, "epoch": 3, "optimizer": {"state": {0: {"exp_avg": torch.zeros(2)}}, "visual.proj": torch.zeros(1)}}
    torch.save(tree, tmp_path / "w.pt")
    assert_same(tmp_path / "w.pt", state)


def test_parts_apart_and_wrappers_within_names(tmp_path, state):  # noqa: F811
    visual = {key.removeprefix("visual."): x for key, x in state.items() if key.startswith("visual.")}
    rest = {key: x for key, x in state.items() if not key.startswith("visual.")}
    torch.save([{"visual": visual, **rest}], tmp_path / "apart.pt")
    within = {key.replace("resblocks.0.", "resblocks.0._fsdp_wrapped_module.module."): x for key, x in state.items()}
    torch.save({"n_averaged": torch.tensor(3), **{f"module.{key}": x for key, x in within.items()}}, tmp_path / "within.pt")
    text = {key if key.startswith(("visual.", "logit")) else f"text.{key}": x for key, x in state.items()}
    torch.save(text, tmp_path / "text.pt")
    for name in ("apart", "within", "text"):
        assert_same(tmp_path / f"{name}.pt", state)


def test_of_a_teacher_and_its_student_the_teacher_is_taken_and_that_is_told(tmp_path, state, capsys):  # noqa: F811
    other = {key: x + 1 for key, x in state.items()}
    for taken, left in (("teacher", "student"), ("model", "model_ema"), ("a", "b")):
        torch.save({left: other, taken: state} if taken != "a" else {taken: state, left: other}, tmp_path / "w.pt")
        assert_same(tmp_path / "w.pt", state)
        assert f"{taken} is taken" in capsys.readouterr().err


@pytest.mark.parametrize(
    "save",
    [
        lambda state, path: save_file(state, path),  # noqa: F811
        lambda state, path: torch.save(state, path),  # noqa: F811
        lambda state, path: torch.save(state, path, _use_new_zipfile_serialization=False),  # noqa: F811
    ],
)
@pytest.mark.parametrize("name", ["0a1b2c3d", "w.safetensors", "w.SafeTensors", "w.pt", "w.bin", "w.zip"])
def test_the_content_tells_the_kind(tmp_path, state, save, name):  # noqa: F811
    save(state, tmp_path / name)
    assert_same(tmp_path / name, state)


def in_transformers(state):  # noqa: F811
    """An open_clip state under the names of transformers' CLIPModel, written out tower by tower."""
    theirs = {"logit_scale": state["logit_scale"], "visual_projection.weight": state["visual.proj"].T.contiguous(),
              "text_projection.weight": state["text_projection"].T.contiguous()}  # fmt: skip
    image, text = "vision_model.embeddings.", "text_model.embeddings."
    theirs |= {image + "class_embedding": state["visual.class_embedding"], image + "position_ids": torch.arange(5),
               image + "patch_embedding.weight": state["visual.conv1.weight"],
               image + "position_embedding.weight": state["visual.positional_embedding"],
               text + "token_embedding.weight": state["token_embedding.weight"],
               text + "position_embedding.weight": state["positional_embedding"]}  # fmt: skip
    for kind in ("weight", "bias"):
        theirs[f"vision_model.pre_layrnorm.{kind}"] = state[f"visual.ln_pre.{kind}"]
        theirs[f"vision_model.post_layernorm.{kind}"] = state[f"visual.ln_post.{kind}"]
        theirs[f"text_model.final_layer_norm.{kind}"] = state[f"ln_final.{kind}"]
        for tower, ours, layers in (("vision_model", "visual.transformer", 2), ("text_model", "transformer", 1)):
            for i in range(layers):
                layer, block = f"{tower}.encoder.layers.{i}.", f"{ours}.resblocks.{i}."
                for x, part in zip("qkv", state[f"{block}attn.in_proj_{kind}"].chunk(3), strict=True):
                    theirs[f"{layer}self_attn.{x}_proj.{kind}"] = part.clone()
                pairs = [("self_attn.out_proj", "attn.out_proj"), ("layer_norm1", "ln_1"), ("layer_norm2", "ln_2"),
                         ("mlp.fc1", "mlp.c_fc"), ("mlp.fc2", "mlp.c_proj")]  # fmt: skip
                theirs |= {f"{layer}{a}.{kind}": state[f"{block}{b}.{kind}"] for a, b in pairs}
    return theirs


@pytest.mark.parametrize("prefix", ["", "model.", "student.clip_model."])
def test_transformers_names(tmp_path, state, prefix, capsys):  # noqa: F811
    """Every block's products at random, biases included: a wrong name or a transposed matrix shows in the embeddings."""
    drawn = {key: torch.randn(x.shape, generator=torch.Generator().manual_seed(i)) for i, (key, x) in enumerate(state.items())}
    save_file({prefix + key: x for key, x in in_transformers(drawn).items()}, tmp_path / "model.safetensors")
    assert_same(tmp_path / "model.safetensors", drawn)
    clip = ClipBackbone("tiny-16", str(tmp_path / "model.safetensors"), device="cpu")
    own = loading.build_model("tiny-16", False)
    own.load_state_dict(drawn)
    pixels = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        np.testing.assert_array_equal(clip.image_embeddings(pixels), own.encode_image(pixels).numpy())


@pytest.mark.parametrize(("act", "found"), [("quick_gelu", "quick_gelu"), ("gelu", "gelu"), (None, "quick_gelu")])
def test_transformers_configuration_tells_the_activation(tmp_path, state, act, found):  # noqa: F811
    save_file(in_transformers(state), tmp_path / "model.safetensors")
    tower = {} if act is None else {"hidden_act": act}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip", "vision_config": tower, "text_config": tower}))
    assert ClipBackbone("tiny-16", str(tmp_path / "model.safetensors"), device="cpu").activation == found


@pytest.mark.parametrize("side", [1, 3, 7])
@pytest.mark.parametrize("form", [dict, in_transformers])
def test_positions_of_another_size_are_resized_as_open_clip_does(tmp_path, state, side, form, capsys):  # noqa: F811
    table = torch.randn(1 + side**2, 64, generator=torch.Generator().manual_seed(side))
    other = state | {"visual.positional_embedding": table}
    save_file(form(other), tmp_path / "w.safetensors")
    loaded = load(tmp_path / "w.safetensors")["visual.positional_embedding"]
    expected = dict(other)
    open_clip.model.resize_pos_embed(expected, loading.build_model("tiny-16", False))
    assert torch.equal(loaded, expected["visual.positional_embedding"])
    assert f"its positions of {side} x {side} patches are resized to 2 x 2" in capsys.readouterr().err


def test_tables_that_cannot_be_resized_are_told(tmp_path, state):  # noqa: F811
    for table, says in ((torch.zeros(4, 64), "no square grid"), (torch.zeros(1, 64).expand(10**9, 64), "more than any model"),
                        (torch.zeros(5, 32), "is 5 x 32, not 5 x 64"), (torch.zeros(0, 64), "no square grid")):  # fmt: skip
        torch.save(state | {"visual.positional_embedding": table}, tmp_path / "w.pt")
        assert says in refused(tmp_path / "w.pt")


@pytest.mark.parametrize(
    ("odd", "says"),
    [
        (lambda: torch.ones(1).expand(10**6, 10**6), "is 1000000 x 1000000, not 64 x 32"),
        (lambda: torch.ones(64, 32).to_sparse(), "a sparse tensor"),
        (lambda: torch.ones(64, 32).to_sparse_csr(), "a sparse tensor"),
        (lambda: torch.empty(64, 32, device="meta"), "meta device"),
        (lambda: torch.quantize_per_tensor(torch.ones(64, 32), 0.1, 0, torch.qint8), "quantised"),
        (lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), "nested"),
        (lambda: torch.ones(64, 32, dtype=torch.int64), "of int64"),
        (lambda: torch.ones(64, 32, dtype=torch.complex64), "of complex64"),
        (lambda: torch.ones(64, 32, dtype=torch.bool), "of bool"),
        (lambda: torch.full((64, 32), torch.nan), "no finite numbers"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore")
def test_tensors_that_are_no_weights_are_told(tmp_path, state, odd, says):  # noqa: F811
    torch.save(state | {"visual.proj": odd()}, tmp_path / "w.pt")
    message = refused(tmp_path / "w.pt")
    assert says in message and "visual.proj" in message


def test_a_value_repeated_to_the_right_shape_is_one(tmp_path, state):  # noqa: F811
    torch.save(state | {"visual.proj": torch.ones(1).expand(64, 32)}, tmp_path / "w.pt")
    assert_same(tmp_path / "w.pt", state | {"visual.proj": torch.ones(64, 32)})


def compressed(source, target, **more):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for part in old.infolist():
            new.writestr(part.filename, old.read(part))
        for name, n_bytes in more.items():
            with new.open(f"w/data/{name}", "w") as file:
                for _ in range(n_bytes >> 20):
                    file.write(bytes(1 << 20))


def test_an_archive_that_unpacks_to_more_than_the_model_is_not_opened(tmp_path, state, monkeypatch):  # noqa: F811
    torch.save(state, tmp_path / "w.pt")
    compressed(tmp_path / "w.pt", tmp_path / "small.pt")
    assert_same(tmp_path / "small.pt", state)
    compressed(tmp_path / "w.pt", tmp_path / "bomb.pt", more=64 << 20)
    archive(tmp_path / "script.pt", constants=b"", data=b"\x80\x02N.")
    compressed(tmp_path / "script.pt", tmp_path / "script_bomb.pt", more=64 << 20)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was unpacked"))
    for name in ("bomb", "script_bomb"):
        assert "it says that it unpacks to" in refused(tmp_path / f"{name}.pt")


@pytest.mark.parametrize("place", [2**31, 2**32 - 1, 2**26])
def test_a_huge_memo_is_one_line(tmp_path, place):
    archive(tmp_path / "w.pt", constants=b"", data=b"\x80\x02]r" + place.to_bytes(4, "little") + b".")
    assert "memo" in refused(tmp_path / "w.pt")


def test_modules_that_hold_each_other_end(tmp_path):
    inner = b"c__torch__\nM\n)\x81q\x00}X\x01\x00\x00\x00ah\x00X\x01\x00\x00\x00bh\x00ub."
    archive(tmp_path / "w.pt", constants=b"", data=b"\x80\x02" + inner.replace(b"}X", b"}(X"))
    assert "without end" in refused(tmp_path / "w.pt")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"), (b"<!DOCTYPE html><html>", "a web page"), (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b'\xef\xbb\xbf{"weight_map": {}}', "JSON"), (b"\x1f\x8b\x08", "gzip"), (b"\0" * 4096, "zeros"),
        (b"PK\x03\x04 cut", "zip"),
        (b"\x89PNG\r\n", "picture"), (b"\x89HDF\r\n", "HDF5"), (b"hello", "text"), (b"\xff\x1b[31m\x02", "no kind"),
        (b"\x80\x04\x95N.", "pickle"), (b"\x08\0\0\0\0\0\0\0{}      ", "does not hold|no state dict"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["w.pt", "w.safetensors", "w\n\x1b[31m.bin"])
def test_what_is_no_weights_file_is_said(tmp_path, content, says, name):
    (tmp_path / name).write_bytes(content)
    message = refused(tmp_path / name)
    assert any(part in message for part in says.split("|")), message


def test_other_models_are_recognised(tmp_path, state):  # noqa: F811
    wide = open_clip.model.CLIP(48, **{key: TINY[key] for key in ("vision_cfg", "text_cfg")}).state_dict()
    for tensors, says in (
        ({"blocks.0.attn.qkv.weight": torch.ones(2)}, "such as DINO"),
        ({"x.visual.layer1.0.conv1.weight": torch.ones(2)}, "ResNet"),
        ({"vision_model.encoder.layers.0.mlp.fc1.bias": torch.ones(2)}, "transformers"),
        (wide, "_projection is 32 x 48, not 32 x 32"),
        ({key: x for key, x in state.items() if key != "visual.proj"}, "it lacks visual.proj"),
        ({"weird": torch.ones(1)}, "weird"),
        (state | {"prompt_learner.ctx": torch.ones(1)}, "it has prompt_learner.ctx besides"),
        (in_transformers(state) | {"visual_projection.weight": torch.ones(3, 3)}, "projection.weight is 3 x 3, not 32 x 64"),
    ):  # fmt: skip
        torch.save(tensors, tmp_path / "w.pt")
        assert says in refused(tmp_path / "w.pt")
    with torch.device("meta"):
        big = loading.build_model("ViT-B-32", False, device="meta").state_dict()
    torch.save({"model": {f"module.{key}": x for key, x in big.items()}}, tmp_path / "w.pt")
    assert "it looks like ViT-B-32" in refused(tmp_path / "w.pt")


def test_paths_that_lead_nowhere_are_one_line(tmp_path):
    loop = tmp_path / "loop.pt"
    loop.symlink_to(loop)
    (tmp_path / "file").write_text("")
    for path in ("a" * 300, tmp_path / ("b" * 256), loop, tmp_path, tmp_path / "file" / "x.pt", "new\nline\x1b[0m", "nul\0"):
        refused(path)
        with pytest.raises(InputError) as error:
            ClipBackbone("embedded", str(path), device="cpu")
        assert "\n" not in str(error.value)
