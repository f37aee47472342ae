"""Which activation a file's weights get: strong signs override the configuration and are told, weak ones are only told."""

import json

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from test_loading import TINY, activation, state, tiny_architecture  # noqa: F401 (fixtures)

import torch_backend.weights.activation as signs


@pytest.fixture
def published(monkeypatch):
    """The tiny architecture as if OpenAI had published weights of it."""
    monkeypatch.setattr(signs, "PUBLISHED", ("tiny-16",))


def halves(state):  # noqa: F811
    return {key: x.half() for key, x in state.items()}


def test_an_architecture_openai_never_published_is_not_openai_s(tmp_path, state, capsys):  # noqa: F811
    open_clip.factory._MODEL_CONFIGS["tiny-32"] = open_clip.factory._MODEL_CONFIGS["tiny-16"]
    try:
        for name in ("half", "from_openai"):
            save_file(halves(state), tmp_path / f"{name}.safetensors")
            assert activation(tmp_path / f"{name}.safetensors", "tiny-32") == "gelu"
            assert capsys.readouterr().err == ""
    finally:
        del open_clip.factory._MODEL_CONFIGS["tiny-32"]


def test_weak_signs_are_told_and_change_nothing(tmp_path, state, capsys, published):  # noqa: F811
    save_file(state, tmp_path / "ViT-OpenAI.safetensors")
    save_file(halves(state), tmp_path / "half.safetensors")
    save_file({key: x.float() for key, x in halves(state).items()}, tmp_path / "widened.safetensors")
    for name, says in (("ViT-OpenAI", "its name says openai"), ("half", "half precision"), ("widened", "half precision")):
        assert activation(tmp_path / f"{name}.safetensors") == "gelu"
        told = capsys.readouterr().err
        assert says in told and "could mean quick_gelu" in told and "--quick-gelu" in told and told.count("\n") == 1


@pytest.mark.parametrize("name", ["datacomp_not_openai", "laion2b", "CommonPool-xl", "metaclip_400m", "dfn2b-openai"])
def test_names_of_others_speak_against_openai(tmp_path, state, capsys, published, name):  # noqa: F811
    save_file(halves(state), tmp_path / f"{name}.pt")
    assert activation(tmp_path / f"{name}.pt") == "gelu"
    told = capsys.readouterr().err
    assert "openai" not in told.removeprefix(f"note: {name}.pt:").lower() and "half precision" not in told


def test_weights_of_others_that_use_it_are_told(state):  # noqa: F811
    signs_of = list(signs._weak_signs("ViT-B-16", "dfn2b.pt", state))
    assert any("dfn" in sign for sign in signs_of) and not any("openai" in sign.lower() for sign in signs_of)


@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_a_configuration_beside_the_file_decides(tmp_path, state, capsys, start):  # noqa: F811
    path = tmp_path / "open_clip_model.safetensors"
    save_file(state, path)
    for stated, found in ((True, "quick_gelu"), (False, "gelu")):
        config = json.dumps({"model_cfg": {"quick_gelu": stated}})
        (tmp_path / "open_clip_config.json").write_text(start + config, encoding="utf-8")
        assert activation(path) == found
        assert "open_clip_config.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    "config",
    [
        {"model_cfg": {"quick_gelu": True, "embed_dim": 512}}, {"model_cfg": {"quick_gelu": "yes"}}, {"model_cfg": [1]}, [], 3,
        {"model_cfg": {"quick_gelu": True, "vision_cfg": {"width": 768}}},
    ],
)  # fmt: skip
def test_a_configuration_of_another_model_does_not(tmp_path, state, config):  # noqa: F811
    save_file(state, tmp_path / "w.safetensors")
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    assert activation(tmp_path / "w.safetensors") == "gelu"


def test_a_configuration_that_cannot_be_read_is_passed_over(tmp_path, state):  # noqa: F811
    save_file(state, tmp_path / "w.safetensors")
    for text in ("[" * 100_000, "{", "\0"):
        (tmp_path / "open_clip_config.json").write_text(text)
        assert activation(tmp_path / "w.safetensors") == "gelu"


def test_entries_under_a_wrapper_count_too(tmp_path, state):  # noqa: F811
    tree = {"ema": {f"module.{key}": x for key, x in (state | {"input_resolution": torch.tensor(32)}).items()}}
    torch.save(tree, tmp_path / "w.pt")
    assert activation(tmp_path / "w.pt") == "quick_gelu"
    assert TINY.get("quick_gelu") is None
