"""Weights by file and by tag, offline: the right activation, safe reading, plain errors."""

import json
import os
import pickle
import zipfile

import open_clip
import pytest
import torch
from safetensors.torch import save_file

import torch_backend.clip.loading as loading
import torch_backend.weights.download as download
from core import InputError, Segmenter
from torch_backend import ClipBackbone
from torch_backend.weights.digest import file_sha256
from torch_backend.weights.kinds import TORCHSCRIPT, kind_of
from torch_backend.weights.read import read_weights
from torch_backend.weights.torchscript import read_torchscript

TINY = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module", autouse=True)
def tiny_architecture(tmp_path_factory):
    """open_clip learns two small architectures, as it knows ViT-B-16 and ViT-B-16-quickgelu."""
    folder = tmp_path_factory.mktemp("configs")
    (folder / "tiny-16.json").write_text(json.dumps(TINY))
    (folder / "tiny-16-quickgelu.json").write_text(json.dumps(TINY | {"quick_gelu": True}))
    open_clip.add_model_config(folder)
    yield
    for name in ("tiny-16", "tiny-16-quickgelu"):
        open_clip.factory._MODEL_CONFIGS.pop(name, None)


@pytest.fixture
def state():
    torch.manual_seed(0)
    return {k: v.clone() for k, v in loading.build_model("tiny-16", False).state_dict().items()}


def activation(path, name="tiny-16", **options):
    return ClipBackbone(name, str(path), device="cpu", **options).activation


def test_safetensors_and_pt_give_the_same_model(tmp_path, state):
    save_file(state, tmp_path / "w.safetensors")
    torch.save(state, tmp_path / "w.pt")
    torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}, "epoch": 3}, tmp_path / "trained.pt")
    for name in ("w.safetensors", "w.pt", "trained.pt"):
        backbone = ClipBackbone("tiny-16", str(tmp_path / name), device="cpu")
        for key, value in backbone.model.state_dict().items():
            assert torch.equal(value, state[key]), (name, key)
        assert backbone.weights_sha256 == file_sha256(tmp_path / name)


def test_plain_weights_keep_the_architecture_s_activation(tmp_path, state, capsys):
    save_file(state, tmp_path / "w.safetensors")
    assert activation(tmp_path / "w.safetensors") == "gelu"
    assert "--quick-gelu" in capsys.readouterr().err
    assert activation(tmp_path / "w.safetensors", "tiny-16-quickgelu") == "quick_gelu"
    assert activation(tmp_path / "w.safetensors", quick_gelu=True) == "quick_gelu"
    assert activation(tmp_path / "w.safetensors", "tiny-16-quickgelu", quick_gelu=False) == "gelu"


def test_entries_of_openai_s_own_files_tell_quick_gelu(tmp_path, state, capsys):
    for name in ("input_resolution", "context_length", "vocab_size"):
        torch.save(state | {name: torch.tensor(77)}, tmp_path / "a.pt")
        assert activation(tmp_path / "a.pt") == "quick_gelu"
        assert f"OpenAI's {name}" in capsys.readouterr().err
    assert activation(tmp_path / "a.pt", quick_gelu=False) == "gelu"


@pytest.mark.filterwarnings("ignore")
def test_openai_s_torchscript_archive_is_read_without_running_it(tmp_path, state):
    """The very format of OpenAI's ViT-B-16.pt: a traced model in mixed precision, with its three extra entries."""
    model = loading.build_model("tiny-16", True).half()
    model.load_state_dict(state)
    for name, value in (("input_resolution", 32), ("context_length", 77), ("vocab_size", 49408)):
        vars(model).pop(name, None)
        model.register_buffer(name, torch.tensor(value))
    image, text = torch.zeros(1, 3, 32, 32, dtype=torch.float16), torch.zeros(1, 77, dtype=torch.long)
    traced = torch.jit.trace(model, (image, text), check_trace=False)
    path = tmp_path / "ViT-T-16.pt"
    traced.save(str(path))
    assert kind_of(path) == TORCHSCRIPT
    read = read_torchscript(path)
    assert set(traced.state_dict()) <= set(read)
    for key, value in traced.state_dict().items():
        assert torch.equal(read[key], value), key
    backbone = ClipBackbone("tiny-16", str(path), device="cpu")
    assert backbone.activation == "quick_gelu"
    assert torch.equal(backbone.model.visual.proj, state["visual.proj"].half().float())


class Bomb:
    def __reduce__(self):
        return os.mkdir, (os.environ["BOMB"],)


@pytest.mark.filterwarnings("ignore")
def test_a_file_that_would_run_code_is_not_opened(tmp_path, monkeypatch):
    monkeypatch.setenv("BOMB", str(tmp_path / "exploded"))
    torch.save({"x": torch.zeros(2), "bomb": Bomb()}, tmp_path / "bomb.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Bomb()))
    for name in ("bomb.pt", "plain.pt"):
        with pytest.raises(InputError):
            read_weights(tmp_path / name)
    assert not (tmp_path / "exploded").exists()


def archive(path, **entries):
    with zipfile.ZipFile(path, "w") as file:
        for name, content in entries.items():
            file.writestr(f"x/{name}.pkl", content)


def test_damaged_and_odd_files_are_told(tmp_path, state):
    torch.save({1: torch.zeros(2), 2: 3}, tmp_path / "numbered.pt")
    torch.save(state | {"visual.transformer.resblocks.0.mlp.c_fc.weight": [1, 2]}, tmp_path / "lists.pt")
    torch.save(state | {"logit_scale": torch.zeros(3)}, tmp_path / "scales.pt")
    torch.save(state | {"logit_scale": 3.0}, tmp_path / "number.pt")
    archive(tmp_path / "empty.pt", constants=b"")
    archive(tmp_path / "list.pt", constants=b"", data=b"\x80\x02]q\x00.")
    archive(tmp_path / "call.pt", constants=b"", data=b"ctorch._utils\n_rebuild_tensor_v2\n(I1\nI2\ntR.")
    for name in ("numbered", "lists", "scales", "number", "empty", "list", "call"):
        with pytest.raises(InputError, match=name) as error:
            ClipBackbone("tiny-16", str(tmp_path / f"{name}.pt"), device="cpu")
        assert "\n" not in str(error.value)


def test_entries_that_are_no_tensors_are_left_out(tmp_path, state):
    torch.save(state | {"epoch": 3}, tmp_path / "w.pt")
    assert torch.equal(ClipBackbone("tiny-16", str(tmp_path / "w.pt"), device="cpu").visual.proj, state["visual.proj"])


def test_settings_that_would_not_be_looked_at_are_refused(state):
    model = loading.build_model("tiny-16", False)
    backbone = ClipBackbone(model, device="cpu")
    for options in ({"quick_gelu": True}, {"pretrained": "openai"}):
        with pytest.raises(InputError, match="leave"):
            ClipBackbone(model, device="cpu", **options)
        with pytest.raises(InputError, match="leave"):
            Segmenter(backend="numpy", model=backbone, **options)
    with pytest.raises(InputError, match="leave"):
        ClipBackbone("embedded", device="cpu", quick_gelu=False)


def test_a_tag_without_its_model_is_told():
    with pytest.raises(InputError, match="--model"):
        ClipBackbone("embedded", "openai", device="cpu")


def test_a_tokenizer_that_cannot_be_had_is_told_before_the_download(monkeypatch):
    def absent(name):
        raise ModuleNotFoundError("No module named 'transformers'")

    monkeypatch.setattr(open_clip, "get_tokenizer", absent)
    monkeypatch.setattr(loading, "get_pretrained_cfg", lambda *_: {"hf_hub": "x/y/"})
    monkeypatch.setattr(loading, "fetch_weights", lambda *_: pytest.fail("weights were fetched"))
    with pytest.raises(InputError, match="transformers"):
        loading.load_clip("tiny-16", "some_tag")


def test_files_that_hold_no_such_weights_are_told(tmp_path, state):
    (tmp_path / "text.pt").write_text("hello")
    (tmp_path / "empty.safetensors").write_bytes(b"")
    save_file({"x": torch.zeros(2)}, tmp_path / "other.safetensors")
    torch.save([1, 2], tmp_path / "list.pt")
    save_file({k: v[:1] if v.ndim else v for k, v in state.items()}, tmp_path / "cut.safetensors")
    for name in ("text.pt", "empty.safetensors", "other.safetensors", "list.pt", "cut.safetensors", "missing.pt"):
        with pytest.raises(InputError, match=name) as error:
            ClipBackbone("tiny-16", str(tmp_path / name), device="cpu")
        assert "\n" not in str(error.value)


def test_names_and_tags_that_do_not_exist_are_told():
    for name, pretrained, says in [
        ("ViT-B-17", "openai", "ViT-B-16"), ("ViT-B-16", None, "openai"), ("ViT-B-16", "opanai", "openai"),
        ("tiny-16", None, "has no tag"), ("tiny-16", "openai", "its tags: none"),
    ]:  # fmt: skip
        with pytest.raises(InputError, match=says) as error:
            ClipBackbone(name, pretrained, device="cpu")
        assert "\n" not in str(error.value)


def test_a_tag_without_network_is_told_at_once(tmp_path, monkeypatch):
    """The hub's own client, kept to an empty cache, when its host cannot be reached."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(download, "getproxies", dict)
    with pytest.raises(InputError, match="--pretrained a local file") as error:
        ClipBackbone("ViT-B-16", "openai", device="cpu")
    assert "\n" not in str(error.value)
    assert "no network" in str(error.value)
    assert not constants.HF_HUB_OFFLINE


def test_a_download_that_fails_is_told(monkeypatch):
    def refuse(*_, **__):
        raise FileNotFoundError("Failed to download file (open_clip_model.safetensors).\nLast error: 503")

    monkeypatch.setattr(download, "hub_reachable", lambda: True)
    monkeypatch.setattr(download, "download_pretrained", refuse)
    with pytest.raises(InputError, match=r"\(Failed to download file \(open_clip_model.safetensors\)\.\)") as error:
        ClipBackbone("ViT-B-16", "openai", device="cpu")
    assert "\n" not in str(error.value)


def test_the_hub_s_cache_serves_a_tag_offline(tmp_path, monkeypatch, state):
    """The real client finds the file in a cache laid out as it lays it out, with no network."""
    from huggingface_hub import constants

    folder = tmp_path / "models--timm--tiny"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("abc")
    (folder / "snapshots" / "abc").mkdir(parents=True)
    save_file(state, folder / "snapshots" / "abc" / "open_clip_model.safetensors")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(download, "hub_reachable", lambda: False)
    tag = {"hf_hub": "timm/tiny/", "quick_gelu": True}
    monkeypatch.setattr(loading, "get_pretrained_cfg", lambda *_: tag)
    loaded = loading.load_clip("tiny-16", "openai")
    assert loaded.activation == "quick_gelu"
    assert torch.equal(loaded.model.visual.proj, state["visual.proj"])


def test_a_tag_in_the_cache_needs_no_network(tmp_path, monkeypatch, state):
    """A tag's own activation is used, whatever the architecture's configuration says."""
    save_file(state, tmp_path / "cached.safetensors")
    monkeypatch.setattr(loading, "fetch_weights", lambda *_: (tmp_path / "cached.safetensors"))
    for quick in (True, False):
        tag = {"hf_hub": "x/y/", "quick_gelu": quick, "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
        monkeypatch.setattr(loading, "get_pretrained_cfg", lambda name, pretrained, tag=tag: tag)
        loaded = loading.load_clip("tiny-16", "some_tag")
        assert loaded.activation == ("quick_gelu" if quick else "gelu")
        assert tuple(loaded.mean) == (0.5, 0.5, 0.5)


def test_openai_tags_use_quick_gelu(tmp_path, monkeypatch):
    asked = {}

    def build(name, quick_gelu):
        asked[name] = quick_gelu
        raise InputError("enough")

    torch.save({"logit_scale": torch.tensor(4.6)}, tmp_path / "w.pt")
    monkeypatch.setattr(loading, "fetch_weights", lambda *_: (tmp_path / "w.pt"))
    monkeypatch.setattr(loading, "build_model", build)
    for name, tag in (("ViT-B-16", "openai"), ("ViT-L-14", "openai"), ("ViT-B-32", "laion2b_s34b_b79k")):
        with pytest.raises(InputError, match="enough"):
            loading.load_clip(name, tag)
    assert asked == {"ViT-B-16": True, "ViT-L-14": True, "ViT-B-32": False}
