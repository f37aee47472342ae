"""A method is one record and one recipe: what that gives, on every backend, and what records and compositions refuse."""

import json

import numpy as np
import pytest
from compare import assert_close
from towers import random_features, random_inputs

from core import InputError, Segmenter, method_options, patch_embeddings
from core.clip.block import embed_on_grid
from core.methods import registry
from core.methods.compose import PARTS, Part
from core.methods.outliers import last_input
from core.methods.registry import METHODS, Method, apply_method, find_method, method_needs, resolve_options
from core.methods.seen import Seen


def meanclip(ops, features, given, *, weight: float = 0.5):
    """Each patch halfway to the picture's mean patch: what a new method's file holds."""
    patches = features.hidden[-1][:, 1:]
    mean = ops.mean(patches, axis=1, keepdims=True)
    tokens = (1 - weight) * patches + weight * mean
    return embed_on_grid(ops, features.weights, tokens, features.grid), {"mean": lambda: mean}


@pytest.fixture
def added(monkeypatch):
    """A method added by one record."""
    monkeypatch.setitem(METHODS, "meanclip", Method("meanclip", meanclip))


def test_a_new_method_runs_everywhere(ops, added, rng):
    features = random_features(rng)
    assert method_options("meanclip") == {"weight": 0.5}
    x = features.hidden[-1][:, 1:].astype("float64")
    tokens = 0.25 * x.mean(1, keepdims=True) + 0.75 * x
    w = features.weights
    centred = tokens - tokens.mean(-1, keepdims=True)
    normal = centred / np.sqrt(centred.var(-1, keepdims=True) + w.eps) * w["ln_post.weight"] + w["ln_post.bias"]
    expected = (normal @ w["proj"]).reshape(2, 3, 5, 8)
    assert_close(patch_embeddings(features, "meanclip", ops.name, weight=0.25), expected, "float32")
    _, seen = apply_method(ops, features, "meanclip")
    assert_close(seen["mean"], features.hidden[-1][:, 1:].mean(1, keepdims=True))


def test_a_new_method_segments_and_explains(added, ops, rng):
    from core.explain.sheets import explain

    segmenter = Segmenter("meanclip", ops.name)
    image = rng.integers(0, 255, (64, 64, 3)).astype(np.uint8)
    assert segmenter(image, ["red circle", "grass"]).labels.shape == (64, 64)
    assert segmenter.configuration()["options"] == {"weight": 0.5}
    assert set(explain(segmenter, image, ["red circle", "grass"])) == {"attention"}


def test_a_part_that_a_record_does_not_take_is_refused(added, rng):
    with pytest.raises(InputError, match="meanclip does not take the part neighbourhood"):
        patch_embeddings(random_features(rng), "meanclip+neighbourhood", gaussian_std=2.0)


def test_a_shared_option_is_refused_for_any_composition(monkeypatch):
    def recipe(ops, features, given, *, n_neighbors: int = 3):
        """Never called."""

    monkeypatch.setitem(METHODS, "clash", Method("clash", recipe, takes=("repair",)))
    with pytest.raises(InputError, match=r"'clash\+repair' is not possible: clash and repair both have the option n_neighbors"):
        find_method("clash+repair")


def test_no_two_parts_share_an_option():
    names = [option for part in PARTS.values() for option in part.options]
    assert len(names) == len(set(names))


def test_records_are_whole():
    """What a record names is there: parts taken or refused for a reason, choices that are options with such a default."""
    for name, method in METHODS.items():
        assert method.name == name
        assert method.recipe.__doc__, name
        assert set(method.takes) | set(method.refuses) <= set(PARTS), name
        assert not set(method.takes) & set(method.refuses), name
        assert set(method.needs) | set(method.needs_with) <= {"text", "external", "attention"}, name
        for option, offered in method.choices.items():
            assert method.options[option] in offered, (name, option)
        words = {option for option, value in method.options.items() if isinstance(value, str)}
        assert words == set(method.choices), name
        for part in method.takes:
            assert set(find_method(f"{name}+{part}")[1]) == {part}


def test_what_methods_need():
    assert method_needs("naclip") == frozenset()
    assert method_needs("naclip+fsa") == {"text"}
    assert method_needs("fsa") == {"text", "external"}
    assert method_needs("proxyclip+repair") == {"external"}
    assert method_needs("sfp") == {"attention"}
    assert method_needs("sfp", {"detector": "LOF"}) == frozenset()


@pytest.mark.parametrize(("method", "options", "says"), [
    ("naclip", {"attn_strategy": "kk", "gaussian_std": 2.0}, "gaussian_std of naclip has no effect: attn_strategy kk"),
    ("naclip+fsa", {"arch": "vanilla"}, r"arch of naclip\+fsa has no effect: fsa works on the reduced block"),
    ("sfp", {"n_neighbors": 5}, "n_neighbors of sfp has no effect: detector SOM does not read it, LOF does"),
    ("sfp", {"detector": "LOF", "n_outliers": 3}, "n_outliers of sfp has no effect: .*, SOM and L2 do"),
    ("sfp", {"detector": "L2", "res_scale": 3.0}, "res_scale of sfp has no effect"),
    ("fsa", {"prune": False, "mass": 0.3}, "mass of fsa has no effect: it is what pruning keeps, and prune is off"),
    ("fsa", {"prune": False, "isolate": False, "ensemble": False, "sharpness": 2.0}, "sharpness of fsa has no effect: .* off"),
    ("maskclip+fsa", {"prune": False, "mass": 0.3}, "has no effect"),
    ("maskclip+fsa", {"ensemble": False}, "the attention is the identity"),
    ("naclip+fsa", {"attn_strategy": "identity", "ensemble": False}, "the attention is the identity"),
])  # fmt: skip
def test_what_has_no_effect_is_refused_and_left_out(rng, method, options, says):
    chosen = list(options)[-1]
    with pytest.raises(InputError, match=says):
        patch_embeddings(random_features(rng), method, **random_inputs(rng), **options)
    others = {name: value for name, value in options.items() if name != chosen}
    assert chosen not in resolve_options(method, others)


def test_what_is_said_to_have_no_effect_has_none(monkeypatch, rng):
    """Every idle option of every method, changed past the refusal: the embeddings stay as they are."""
    features, inputs = random_features(rng), random_inputs(rng)
    cases = [
        ("naclip", {"attn_strategy": "csa"}), ("maskclip+fsa", {}), ("naclip+fsa", {}), ("fsa", {"prune": False}),
        ("fsa", {"isolate": False, "prune": False, "ensemble": False}), ("sfp", {}), ("sfp", {"detector": "L2"}),
        ("sfp", {"detector": "LOF"}),
    ]  # fmt: skip
    for method, options in cases:
        expected = patch_embeddings(features, method, **inputs, **options)
        idle = set(method_options(method)) - set(resolve_options(method, options))
        assert idle
        other = {"arch": "vanilla", "gaussian_std": 1.0, "mass": 0.1, "sharpness": 9.0, "n_outliers": 2, "res_scale": 0.1,
                 "n_neighbors": 3, "contamination": 0.5, "ensemble": False}  # fmt: skip
        own = options | {name: other[name] for name in idle}
        monkeypatch.setattr(registry, "resolve_options", lambda name, chosen, own=own: method_options(name) | own)
        np.testing.assert_allclose(patch_embeddings(features, method, **inputs), expected, atol=1e-6)
        monkeypatch.undo()


def test_every_option_that_counts_counts(rng):
    """The other way round: an option of a method, changed, changes its embeddings."""
    features, inputs = random_features(rng), random_inputs(rng)
    other = {"arch": "vanilla", "attn_strategy": "qq", "gaussian_std": 1.0, "beta": 0.1, "pre_layer": 5, "post_layer": 6,
             "multi_layers": (2, 4), "res_cls": 0.1, "n_neighbors": 3, "contamination": 0.4, "lof_variant": "breunig",
             "self_attention": "qk", "detector": "L2", "attention": "notes", "res_scale": 0.5, "n_outliers": 1, "gamma": 1.0,
             "isolate": False, "prune": False, "ensemble": False, "sharpness": 1.0, "mass": 0.1}  # fmt: skip
    base = {"n_neighbors": 5, "contamination": 0.2}
    for method in [*METHODS, "sclip+neighbourhood", "maskclip+fsa", "naclip+repair"]:
        for detector in ("SOM", "L2", "LOF") if method == "sfp" else (None,):
            own = {} if detector is None else {"detector": detector}
            options = resolve_options(method, own)
            own |= {name: value for name, value in base.items() if name in options}
            expected = patch_embeddings(features, method, **inputs, **own)
            for name in set(options) - {"detector"}:
                value = other[name] if name in other else _another(options[name])
                changed = patch_embeddings(features, method, **inputs, **(own | {name: value}))
                assert np.abs(changed - expected).max() > 1e-6, (method, detector, name)


def _another(value):
    """Another value of a new method's option, of its kind."""
    return not value if isinstance(value, bool) else value + 1 if isinstance(value, int) else value / 2 + 0.1


def test_pamr_of_a_composition_is_its_base_s():
    pamr = {"naclip": True, "naclip+fsa": True, "naclip+repair": True, "sclip+fsa": False, "vanilla": False}
    for method, on in pamr.items():
        assert Segmenter(method, "numpy").settings.pamr is on, method
    assert Segmenter("naclip+fsa", "numpy", pamr=False).settings.pamr is False


def test_a_repair_leaves_the_class_token_and_sound_patches_alone(ops, rng, dtype):
    from core.methods.compose import Given

    features = random_features(rng, dtype=dtype).to(ops)
    x, steps = last_input(ops, features, Given(repair=(4, 0.2)))
    before, after = ops.to_numpy(features.hidden[-1]), ops.to_numpy(x)
    outliers = ops.to_numpy(steps["outliers"]()).reshape(2, 15).astype(bool)
    assert outliers.any(axis=1).all()
    np.testing.assert_array_equal(after[:, 0], before[:, 0])
    np.testing.assert_array_equal(after[:, 1:][~outliers], before[:, 1:][~outliers])
    assert (after[:, 1:][outliers] != before[:, 1:][outliers]).any(axis=-1).all()


def test_the_attention_between_patches_sums_to_one_again(ops, rng):
    from core.methods.last_block import attention_and_values, between_patches

    features = random_features(rng, dtype="float64").to(ops)
    attention, _ = attention_and_values(ops, features, features.hidden[-1], "kk", None)
    ((share, weights),) = between_patches(ops, attention, 2)
    keys, scale = ops.split_heads(attention[0][1].a, 2), attention[0][1].scale
    whole = ops.to_numpy(ops.attention_weights(keys, keys, scale))
    expected = whole[:, :, 1:, 1:] / whole[:, :, 1:, 1:].sum(-1, keepdims=True)
    assert share == 1
    assert_close(weights, expected)
    assert between_patches(ops, None, 2) is None


def test_what_a_method_saw_is_computed_when_it_is_asked_for(rng):
    features = random_features(rng)
    ops = registry.load_backend("numpy")
    _, seen = apply_method(ops, features, "naclip+repair+fsa", **random_inputs(rng), n_neighbors=4)
    assert set(seen) == {"attention", "corrected_attention", "before_feedback", "outliers", "before_repair", "after_repair"}
    assert seen._computed == {}
    assert seen["attention"].shape == (2, 2, 15, 15) and seen["corrected_attention"].shape == (2, 1, 15, 15)
    assert seen["before_feedback"].shape == (2, 3, 5, 8) and seen["outliers"].shape == (2, 3, 5)
    assert seen["before_repair"].shape == seen["after_repair"].shape == (2, 3, 5, 16)
    assert seen["attention"] is seen["attention"]


def test_what_was_seen_is_computed_once(ops):
    times = []
    seen = Seen(ops, {"x": lambda: times.append(1) or ops.asarray(np.ones(2)), "y": lambda: times.append(2)})
    assert list(seen) == ["x", "y"] and len(seen) == 2 and times == []
    assert seen["x"] is seen["x"] and times == [1]


def test_a_setting_says_what_it_may_be(tmp_path):
    json.dumps(Segmenter("sclip", "numpy").settings.record())
    with pytest.raises(AttributeError):
        Segmenter("sclip", "numpy").settings.pamr = True
    assert Part({"x": 1}).idle({}, ()) == {}


NUMBERS = {name: [option for option, value in method_options(name).items() if not isinstance(value, str | bool)]
           for name in (*METHODS, "vanilla+neighbourhood", "sclip+repair", "naclip+fsa")}  # fmt: skip


@pytest.mark.parametrize("method", NUMBERS)
def test_every_number_has_limits(method):
    """Its published value lies within; what is beyond is refused in one line, whatever it is."""
    record, parts = find_method(method)
    limits = dict(record.limits) | {option: limit for part in parts for option, limit in PARTS[part].limits.items()}
    assert set(limits) == set(NUMBERS[method])
    for option, limit in limits.items():
        published = method_options(method)[option]
        assert limit.allows(published), option
        beyond = [limit.low - 1, limit.high * 2, 10**400, -(10**5000)]
        if isinstance(published, float):
            beyond += [1e308, -1e308, float("inf"), float("nan"), *([limit.low] if limit.above else [])]
        for value in beyond:
            given = (value, value) if isinstance(published, tuple) else value
            with pytest.raises(InputError, match=f"option {option} of ") as error:
                resolve_options(method, {option: given})
            assert "\n" not in str(error.value) and len(str(error.value)) < 300


def test_the_limits_are_these():
    """Each may be chosen itself, but for 0 where there must be something; only layers are counted in the tower."""
    expected = {
        "gaussian_std": (0, 10**6), "gamma": (0, 10**6), "res_cls": (0, 1000), "res_scale": (0, 1000),
        "n_neighbors": (1, 10**6), "n_outliers": (1, 10**6), "contamination": (0, 1), "mass": (0, 1), "sharpness": (0, 80),
        "pre_layer": (0, 1000), "post_layer": (0, 1000), "multi_layers": (0, 1000),
    }  # fmt: skip
    beta = {"scclip": (-1, 1), "sfp": (-1, 1), "proxyclip": (-100, 100), "fsa": (-100, 100)}
    for name, record in [*METHODS.items(), *PARTS.items()]:
        for option, limit in record.limits.items():
            if option != "beta" and option not in expected:  # of a method that came later
                continue
            low, high = beta[name] if option == "beta" else expected[option]
            assert limit.allows(high) and not limit.allows(high * 1.001), (name, option)
            assert limit.allows(low) is (option not in ("gaussian_std", "gamma")), (name, option)
            assert limit.allows(low + 1e-9) and not limit.allows(low - 1e-9), (name, option)
            assert limit.layer == option.endswith(("layer", "layers")), (name, option)
    said = [str(METHODS["scclip"].limits["n_neighbors"]), str(METHODS["naclip"].limits["gaussian_std"])]
    assert said == ["1 to 1,000,000", "above 0 and at most 1,000,000"]


def test_layers_may_not_descend():
    with pytest.raises(InputError, match="option multi_layers of scclip must be"):
        resolve_options("scclip", {"multi_layers": (9, 3)})


def test_a_model_s_own_options_are_judged_too():
    with pytest.raises(InputError, match="option gaussian_std of naclip must be above 0"):
        resolve_options("naclip", {}, {"gaussian_std": -1.0})


@pytest.mark.parametrize("settings", [
    {"arch": "foo"}, {"gaussian_std": -1.0}, {"gaussian_std": 10**400}, {"x" * 400: 1}, {"arch": "x\n" * 400},
    {"method": "proxyclip", "external": "self", "gamma": 1e308}, {"pamr_iterations": 10**400}, {"pamr_dilations": (10**400,)},
    {"method": "fsa", "external": "self", "sharpness": 1e30}, {"method": "fsa", "external": "self", "mass": -1.0},
    {"method": "scclip", "pre_layer": -1}, {"short_side": 10**400}, {"short_side": 10**5000}, {"logit_scale": 10**400},
    {"logit_scale": 1e308}, {"window": 10**400}, {"stride": 10**400},
    {"pamr_dilations": 8}, {"batch_size": 10**400}, {"batch_size": 1.5},
])  # fmt: skip
def test_values_are_judged_before_anything_is_loaded(monkeypatch, settings):
    monkeypatch.setattr("core.segment.segmenter.load_clip_model", lambda *_, **__: pytest.fail("loaded"))
    with pytest.raises(InputError) as error:
        Segmenter(**({"backend": "numpy"} | settings))
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


def test_a_layer_that_the_model_lacks_is_told_before_a_picture():
    from fake_clip import FakeClip

    with pytest.raises(InputError, match="blocks 0 to 10 before its last, so layer 12 is not there"):
        Segmenter("scclip", "numpy", model=FakeClip(), pre_layer=12)


@pytest.mark.parametrize(("method", "options"), [
    ("proxyclip", {"gamma": 1e6}), ("proxyclip", {"beta": -100.0}), ("proxyclip", {"beta": 100.0}),
    ("fsa", {"sharpness": 80.0}), ("fsa", {"sharpness": 0.0}), ("fsa", {"mass": 0.0}), ("fsa", {"mass": 1.0}),
    ("naclip", {"gaussian_std": 1e-300}),
    ("naclip", {"gaussian_std": 1e6}), ("scclip", {"beta": -1.0}), ("scclip", {"beta": 1.0}), ("scclip", {"res_cls": 1000.0}),
    ("scclip", {"n_neighbors": 10**6}), ("scclip", {"contamination": 1.0}), ("scclip", {"contamination": 0.0}),
    ("sfp", {"res_scale": 1000.0}), ("sfp", {"n_outliers": 10**6}),
])  # fmt: skip
@pytest.mark.filterwarnings("error")
def test_the_limits_themselves_can_be_computed(ops, rng, method, options):
    assert np.isfinite(patch_embeddings(random_features(rng), method, ops.name, **random_inputs(rng), **options)).all()
