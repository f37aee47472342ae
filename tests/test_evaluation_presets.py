"""The authors' settings and names, against the table they were taken from; what is refused."""

from pathlib import Path

import pytest

from core import METHODS, InputError, Segmenter
from core.evaluation.compositions import compositions, measured_methods
from core.evaluation.data.datasets import DATASETS
from core.evaluation.published.figures import PUBLISHED, published_miou
from core.evaluation.published.names import FOLDER, class_file, read_names, stand_in_names
from core.evaluation.published.presets import (
    AUTHORS,
    FALLBACK,
    PRESETS,
    check_overrides,
    preset_for,
    preset_note,
)
from core.methods.registry import Method, method_needs
from core.segment.query import parse_classes
from core.segment.settings import KINDS

SMALL, PROXY = (224, 112), (336, 112)
WHOLE = (0, 0)
SOURCES = {
    "naclip": "Hajimiri, Ben Ayed and Dolz, NACLIP, WACV 2025",
    "sclip": "Wang, Mei and Yuille, SCLIP, ECCV 2024",
    "scclip": "Bai et al., SC-CLIP, 2024",
    "sfp": "Jin et al., SFP, ICCV 2025",
    "proxyclip": "Lan et al., ProxyCLIP, ECCV 2024",
    "fsa": "Chi et al., FSA, 2025",
}
"""Whose released code for ViT-B/16 each column is from, as it was read on 2026-11-20."""

TABLE = {
    # short side, (window, stride), logit scale, prob_thd, area_thd
    "naclip": {
        "voc21": (336, WHOLE, 40, 0.1, 0), "voc20": (336, WHOLE, 40, 0, 0),
        "context60": (336, SMALL, 40, 0.1, 0), "context59": (336, SMALL, 40, 0, 0),
        "coco_object": (336, SMALL, 40, 0.1, 0), "coco_stuff164k": (336, SMALL, 40, 0, 0),
        "cityscapes": (560, SMALL, 40, 0, 0), "ade20k": (336, SMALL, 40, 0, 0),
    },
    "sclip": {
        "voc21": (336, SMALL, 65, 0.1, 0.1), "voc20": (336, SMALL, 40, 0, 0),
        "context60": (336, SMALL, 50, 0.1, 0), "context59": (336, SMALL, 40, 0, 0),
        "coco_object": (336, SMALL, 50, 0.1, 0), "coco_stuff164k": (448, SMALL, 40, 0, 0),
        "cityscapes": (560, SMALL, 40, 0, 0), "ade20k": (336, SMALL, 40, 0, 0),
    },
    "scclip": {
        "voc21": (336, SMALL, 50, 0.15, 0.1), "voc20": (336, SMALL, 40, 0, 0),
        "context60": (336, SMALL, 40, 0.15, 0), "context59": (336, SMALL, 40, 0, 0),
        "coco_object": (336, SMALL, 55, 0.35, 0), "coco_stuff164k": (336, SMALL, 40, 0, 0),
        "cityscapes": (560, SMALL, 40, 0, 0), "ade20k": (336, SMALL, 40, 0, 0),
    },
    "sfp": {
        "voc21": (336, SMALL, 50, 0.15, 0.1), "voc20": (336, SMALL, 40, 0, 0),
        "context60": (336, SMALL, 40, 0.15, 0), "context59": (336, SMALL, 40, 0, 0),
        "coco_object": (336, SMALL, 55, 0.35, 0), "coco_stuff164k": (336, SMALL, 40, 0, 0),
        "cityscapes": (560, SMALL, 40, 0, 0), "ade20k": (384, SMALL, 40, 0, 0),
    },
    "proxyclip": {
        "voc21": (336, PROXY, 40, 0.2, 0), "voc20": (336, PROXY, 40, 0, 0),
        "context60": (336, PROXY, 40, 0.15, 0), "context59": (336, PROXY, 40, 0, 0),
        "coco_object": (336, PROXY, 40, 0.25, 0), "coco_stuff164k": (336, PROXY, 40, 0, 0),
        "cityscapes": (448, (224, 112), 40, 0, 0), "ade20k": (448, PROXY, 40, 0, 0),
    },
    "fsa": {
        "voc21": (336, PROXY, 40, 0.2, 0), "voc20": (336, PROXY, 40, 0, 0),
        "context60": (336, PROXY, 40, 0.14, 0), "context59": (336, PROXY, 40, 0, 0),
        "coco_object": (336, PROXY, 40, 0.3, 0), "coco_stuff164k": (336, PROXY, 40, 0, 0),
        "cityscapes": (448, (224, 80), 40, 0, 0), "ade20k": (448, PROXY, 40, 0, 0),
    },
}  # fmt: skip


@pytest.mark.parametrize("dataset", list(DATASETS))
@pytest.mark.parametrize("authors", list(SOURCES), ids=SOURCES.get)
def test_presets_as_published(authors, dataset):
    preset = PRESETS[authors, dataset]
    short_side, (window, stride), scale, prob_thd, area_thd = TABLE[authors][dataset]
    assert preset.name == f"{authors}/{dataset}"
    external = {"external": "dino"} if authors in ("proxyclip", "fsa") else {}
    assert preset.settings == {
        "short_side": short_side, "window": window, "stride": stride, "logit_scale": scale,
        "prob_thd": prob_thd, "area_thd": area_thd, "whole_patches": False, **external,
    }  # fmt: skip


def test_nobody_else_has_a_preset_but_for_naclip_s_without_pamr():
    assert set(AUTHORS) == {*SOURCES, FALLBACK}
    assert {dataset: PRESETS[FALLBACK, dataset].settings for dataset in DATASETS} == {
        dataset: PRESETS["naclip", dataset].settings for dataset in DATASETS
    }
    files = {authors: [PRESETS[authors, dataset].class_file for dataset in DATASETS] for authors in (FALLBACK, "naclip")}
    assert files[FALLBACK] == files["naclip"]


def test_pamr_is_naclip_s_alone():
    """Of the published methods only NACLIP (WACV 2025) reports figures with PAMR on."""
    assert {method for method in METHODS if preset_for(method, "voc21").settings["pamr"]} == {"naclip"}


def test_every_preset_is_of_settings_that_can_be_and_has_thresholds_only_with_a_background():
    for method in measured_methods():
        for dataset in DATASETS.values():
            preset = preset_for(method, dataset.name)
            assert preset.name.split("/")[1] == dataset.name
            assert all(KINDS[name].check(value) for name, value in preset.settings.items())
            if not dataset.has_background:
                assert preset.settings["prob_thd"] == preset.settings["area_thd"] == 0
            check_overrides(method, dataset, {}, {})


@pytest.mark.parametrize("method", ["naclip", "naclip+fsa", "naclip+repair", "scclip+fsa", "maskclip", "maskclip+fsa"])
def test_the_base_s_record_says_pamr_in_the_segmenter_and_in_the_preset(method, golden_backbone):
    pamr = method.startswith("naclip")
    assert Segmenter(method, "numpy", model=golden_backbone).settings.pamr is pamr
    for dataset in DATASETS:
        preset = preset_for(method, dataset).settings
        assert preset["pamr"] is pamr
        assert Segmenter(method, "numpy", model=golden_backbone, preset=preset).settings.pamr is pamr
        assert Segmenter(method, "numpy", model=golden_backbone, preset=preset, pamr=not pamr).settings.pamr is not pamr


def test_whose_preset_a_method_takes(monkeypatch):
    methods = ("maskclip", "vanilla", "clearclip", "scclip+fsa", "naclip+fsa")
    names = {method: preset_for(method, "voc21").name for method in methods}
    assert names == {
        "maskclip": "naclip-no-pamr/voc21", "vanilla": "naclip-no-pamr/voc21", "clearclip": "naclip-no-pamr/voc21",
        "scclip+fsa": "scclip/voc21", "naclip+fsa": "naclip/voc21",
    }  # fmt: skip
    assert not any(preset_note(name) for name in ("vanilla", "maskclip", "clearclip", *SOURCES))
    assert preset_note("scclip+fsa") == "scclip+fsa has no preset of its own: it is measured with scclip's"
    with pytest.raises(InputError, match="unknown method 'nonsense'"):
        preset_for("nonsense", "voc21")
    for method in list(compositions()):
        assert ("external" in preset_for(method, "voc21").settings) == ("external" in method_needs(method))
    borrowed = Method("mine", METHODS["maskclip"].recipe, takes=("fsa",), preset="proxyclip", pamr=True)
    monkeypatch.setitem(METHODS, "mine", borrowed)
    assert preset_note("mine") is None and preset_note("mine+fsa").endswith("measured with proxyclip's")
    expected = {**PRESETS["proxyclip", "voc21"].settings, "pamr": True}
    del expected["external"]  # which maskclip's recipe does not read
    assert preset_for("mine", "voc21").settings == expected


def test_overrides_go_before_the_preset(golden_backbone):
    def settings(**overrides):
        preset = preset_for("scclip", "voc21").settings
        return Segmenter("scclip", "numpy", model=golden_backbone, preset=preset, **overrides).settings

    plain, other = settings(), settings(short_side=448, prob_thd=None, window=64)
    assert (plain.short_side, plain.window, plain.stride, plain.logit_scale) == (336, 224, 112, 50)
    assert (other.short_side, other.prob_thd, other.window, other.stride) == (448, 0.15, 64, 32)
    assert settings(window=64, stride=16).stride == 16
    whole = preset_for("naclip", "voc21").settings
    assert Segmenter("naclip", "numpy", model=golden_backbone, preset=whole, window=64).settings.stride == 32
    with pytest.raises(InputError, match=r"the stride must be at most the window \(64\), not 112"):
        settings(window=64, stride=112)


@pytest.mark.parametrize("name", ["prob_thd", "area_thd"])
def test_a_background_threshold_without_a_background_is_refused(name):
    check_overrides("naclip", DATASETS["voc20"], {name: 0.0}, {})
    check_overrides("naclip", DATASETS["coco_object"], {name: 0.2}, {})
    for dataset in ("voc20", "context59", "coco_stuff164k", "cityscapes", "ade20k"):
        with pytest.raises(InputError, match=f"{name} is a threshold against the background, and {dataset} has none"):
            check_overrides("naclip", DATASETS[dataset], {name: 0.2}, {})


def test_every_class_file_fits_its_data_set():
    used = set()
    for preset in PRESETS.values():
        dataset = DATASETS[preset.name.split("/")[1]]
        names = read_names(FOLDER / preset.class_file, dataset)
        assert len(parse_classes(names).names) == dataset.n_classes
        used.add(preset.class_file)
    assert used == {path.name for path in FOLDER.iterdir()}


def test_whose_names_a_method_takes():
    def file(method, dataset):
        return preset_for(method, dataset).class_file

    def line(method, dataset, index):
        return read_names(FOLDER / file(method, dataset), DATASETS[dataset])[index]

    assert file("fsa", "voc21") == file("proxyclip", "voc21") != file("naclip", "voc21")
    assert class_file("proxyclip", "voc21") == FOLDER / file("proxyclip", "voc21")
    assert line("proxyclip", "voc21", 15) == "person"
    assert line("scclip", "voc21", 15) == line("naclip", "voc21", 15) == line("sclip", "voc21", 15)
    assert line("sfp", "voc20", 14).startswith("people, people in shirt")
    assert line("sfp", "cityscapes", 11) == "people" and line("fsa", "cityscapes", 11) == "person"
    assert "; tree; " in line("fsa", "coco_object", 0)
    assert file("fsa", "ade20k") == file("sfp", "ade20k") == file("naclip", "ade20k")
    own = {key for key, preset in PRESETS.items() if not preset.class_file.startswith("naclip_")}
    assert own == {
        *((authors, dataset) for authors in ("proxyclip", "fsa") for dataset in ("voc20", "voc21", "coco_object")),
        *(("sfp", dataset) for dataset in ("voc20", "voc21", "cityscapes")),
    }


def test_names_of_a_user_in_both_separators(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("\n".join(["wall; sky, sea", *(f"thing{i}" for i in range(20))]))
    assert parse_classes(read_names(path, DATASETS["voc21"])).phrases[:3] == ("wall", "sky", "sea")
    with pytest.raises(InputError, match=r"names 21 classes, and voc20 has 20$"):
        read_names(path, DATASETS["voc20"])


@pytest.mark.parametrize("name", list(DATASETS))
def test_stand_in_names_are_words_of_the_embedded_model(name):
    from torch_backend.clip.embedded import load_embedded

    tokenizer = load_embedded()[1]
    classes = parse_classes(stand_in_names(DATASETS[name]))
    assert len(classes.names) == DATASETS[name].n_classes
    assert tokenizer([f"the {phrase}" for phrase in classes.phrases]).shape[0] == len(classes.phrases)


def test_published_figures_are_those_of_the_authors_readmes():
    """NACLIP's README: ViT-B/16 with PAMR. SCLIP's README: ViT-B/16. No other method's figures are kept."""
    order = ("voc21", "context60", "coco_object", "voc20", "context59", "coco_stuff164k", "cityscapes", "ade20k")
    readmes = {
        "naclip": (64.07, 34.99, 36.19, 83.03, 38.35, 25.69, 38.27, 19.05),
        "sclip": (59.63, 31.74, 33.52, 81.54, 34.46, 22.77, 32.34, 16.45),
    }
    assert set(order) == set(DATASETS) and set(PUBLISHED) == set(readmes)
    for method, figures in readmes.items():
        assert [published_miou(method, dataset) for dataset in order] == list(figures)
    assert published_miou("naclip+fsa", "voc21") is None and published_miou("scclip", "voc21") is None


def test_the_names_travel_with_the_package(monkeypatch):
    pytest.importorskip("setuptools", reason="what an install holds is asked of setuptools")
    from distutils.core import run_setup

    root = Path(__file__).resolve().parents[1]
    monkeypatch.chdir(root)
    distribution = run_setup("setup.py", stop_after="init")
    assert "core.evaluation.published" in distribution.packages
    patterns = distribution.package_data["core.evaluation.published"]
    taken = {path.name for pattern in patterns for path in (root / "core/evaluation/published").glob(pattern)}
    assert taken == {path.name for path in FOLDER.iterdir()}
