"""The constants of the published methods, each with its source: a slip of one digit moves every figure and breaks no law."""

import inspect

import pytest

from core.clip import features, view
from core.methods import affinity, feedback
from core.methods.compose import PARTS
from core.methods.registry import METHODS
from core.primitives import outlier_factor, pamr, resize
from core.primitives.layers import layer_norm
from core.segment.settings import resolve

NACLIP = {"arch": "reduced", "attn_strategy": "naclip", "gaussian_std": 5.0}  # WACV 2025, section 4.1: std 5
SCCLIP = {  # Bai et al., 2024, section 4.1, and the authors' code: beta .4, layers 8, 3, 3 to 9, LOF of 30 neighbours and .05
    "beta": 0.4, "pre_layer": 8, "post_layer": 3, "multi_layers": (3, 9), "res_cls": 0.3, "n_neighbors": 30,
    "contamination": 0.05, "lof_variant": "scclip", "self_attention": "kk",
}  # fmt: skip
SFP = {  # ICCV 2025, as released: SOM's 1.5 = .3 * 5, the 10 strongest; otherwise SC-CLIP's
    "detector": "SOM", "attention": "released", "beta": 0.4, "pre_layer": 8, "post_layer": 3, "multi_layers": (3, 9),
    "res_cls": 0.3, "res_scale": 5.0, "n_outliers": 10, "n_neighbors": 30, "contamination": 0.05,
}  # fmt: skip
PROXYCLIP = {"beta": 1.2, "gamma": 3.0}  # ECCV 2024, section 4.1
FSA = {"isolate": True, "prune": True, "ensemble": True, "sharpness": 3.0, "mass": 0.45}  # 2025, section 4.1, and their code
PUBLISHED = {
    "vanilla": {}, "maskclip": {}, "sclip": {}, "clearclip": {}, "naclip": NACLIP, "scclip": SCCLIP, "sfp": SFP,
    "proxyclip": PROXYCLIP, "fsa": PROXYCLIP | FSA,
}  # fmt: skip


def test_every_method_has_its_options_here():
    assert list(PUBLISHED) == list(METHODS)


@pytest.mark.parametrize("method", PUBLISHED)
def test_options(method):
    assert METHODS[method].options == PUBLISHED[method]


@pytest.mark.parametrize(("part", "options"), [
    ("neighbourhood", {"gaussian_std": NACLIP["gaussian_std"]}),
    ("repair", {name: SCCLIP[name] for name in ("n_neighbors", "contamination")}),
    ("fsa", FSA),
])  # fmt: skip
def test_a_part_has_the_constants_of_the_method_it_is_of(part, options):
    assert PARTS[part].options == options


@pytest.mark.parametrize(("name", "value", "constant"), [
    ("FSA: cosines of the patches, times", 20.0, feedback.LOGIT_SCALE),
    ("FSA: cosines of the mean value, times", 35.0, feedback.MEAN_LOGIT_SCALE),
    ("FSA's code: log(p + eps)", 1e-10, feedback.KL_EPS),
    ("SC-CLIP's code: row sums + eps", 1e-6, affinity.AGGREGATION_EPS),
    ("SC-CLIP: the block whose content is compared", 8, features.MIDDLE_LAYER),
    ("PAMR, CVPR 2020, their code: spread = eps + .1 std", (1e-8, 0.1), (pamr.EPS, pamr.SHARPNESS)),
    ("scikit-learn's LOF: mean reach + eps", 1e-10, outlier_factor.DENSITY_EPS),
    ("Keys, 1981, as PyTorch and OpenCV choose a", -0.75, resize.BICUBIC_A),
    ("mmsegmentation's Resize((2048, S)) of all the authors' configurations", 2048, view.LONG_SIDE),
    ("open_clip's layer norms, and OpenAI's", 1e-5, features.HeadWeights.__dataclass_fields__["eps"].default),
    ("the same, of the primitive", 1e-5, inspect.signature(layer_norm).parameters["eps"].default),
])  # fmt: skip
def test_constants(name, value, constant):
    assert constant == value, name


def test_dino_s_guard_in_the_scale_of_the_position_grid():
    """DINO's interpolate_pos_encoding adds .1 to each side; NACLIP and all after it keep that."""
    tower = pytest.importorskip("torch_backend.clip.tower")
    assert tower.GRID_OFFSET == 0.1


def test_contrast_is_sc_clip_s_unless_given():
    """SC-CLIP, eq. 7: 3 (S - mean S); ProxyCLIP's own beta is an option of it."""
    parameters = inspect.signature(affinity.contrast_attention).parameters
    assert (parameters["gamma"].default, parameters["beta"].default) == (3.0, 1.0)


def test_settings_around_a_method():
    """NACLIP, section 4.1: logit scale 40, windows of the trained size every half of it, PAMR of 10 steps at 8 and 16."""

    class Clip:
        image_size, patch_size, preset = 224, 16, {}

    for method, pamr_is_on in (("naclip", True), ("sclip", False), ("scclip", False), ("proxyclip", False)):
        settings = resolve(method, Clip, {}, {"external": "self"} if method == "proxyclip" else {})
        assert (settings.logit_scale, settings.prob_thd, settings.area_thd) == (40.0, 0.0, 0.0)
        assert (settings.short_side, settings.window, settings.stride) == (336, 224, 112)
        assert (settings.pamr, settings.pamr_iterations, settings.pamr_dilations) == (pamr_is_on, 10, (8, 16))


def test_pamr_s_own_defaults_are_the_settings():
    parameters = inspect.signature(pamr.pamr).parameters
    assert (parameters["num_iter"].default, parameters["dilations"].default) == (10, (8, 16))
    assert inspect.signature(pamr.pamr_affinity).parameters["dilations"].default == (8, 16)
