"""The authors' settings and names, against the table they were taken from; what is refused."""

from pathlib import Path

import pytest

from core import METHODS, InputError
from core.evaluation.data.datasets import DATASETS
from core.evaluation.published.names import FOLDER, class_file, read_names, stand_in_names
from core.evaluation.published.presets import PRESETS, PUBLISHED, preset_for, resolve
from core.segment.query import parse_classes


@pytest.mark.parametrize(
    ("name", "short_side", "window", "stride", "scale", "prob_thd", "area_thd"),
    [
        ("naclip/voc21", 336, 0, 0, 40, 0.1, 0),
        ("naclip/voc20", 336, 0, 0, 40, 0, 0),
        ("naclip/context60", 336, 224, 112, 40, 0.1, 0),
        ("naclip/cityscapes", 560, 224, 112, 40, 0, 0),
        ("sclip/voc21", 336, 224, 112, 65, 0.1, 0.1),
        ("sclip/coco_object", 336, 224, 112, 50, 0.1, 0),
        ("sclip/coco_stuff164k", 448, 224, 112, 40, 0, 0),
        ("scclip/voc21", 336, 224, 112, 50, 0.15, 0.1),
        ("scclip/coco_object", 336, 224, 112, 55, 0.35, 0),
        ("scclip/ade20k", 336, 224, 112, 40, 0, 0),
        ("sfp/ade20k", 384, 224, 112, 40, 0, 0),
        ("sfp/context60", 336, 224, 112, 40, 0.15, 0),
        ("proxyclip/context60", 336, 336, 112, 40, 0.15, 0),
        ("proxyclip/cityscapes", 448, 224, 112, 40, 0, 0),
        ("fsa/context60", 336, 336, 112, 40, 0.14, 0),
        ("fsa/cityscapes", 448, 224, 80, 40, 0, 0),
        ("fsa/ade20k", 448, 336, 112, 40, 0, 0),
    ],
)
def test_presets_as_published(name, short_side, window, stride, scale, prob_thd, area_thd):
    preset = PRESETS[tuple(name.split("/"))]
    assert preset.name == name
    assert (preset.short_side, preset.window, preset.stride) == (short_side, window, stride)
    assert (preset.logit_scale, preset.prob_thd, preset.area_thd) == (scale, prob_thd, area_thd)
    assert preset.pamr == name.startswith("naclip/")
    assert preset.external == ("dino" if name.startswith(("proxyclip", "fsa")) else None)


def test_every_method_has_a_preset_on_every_data_set_and_thresholds_only_with_a_background():
    for method in METHODS:
        for dataset in DATASETS.values():
            preset = preset_for(method, dataset.name)
            assert preset.name.split("/")[1] == dataset.name
            if not dataset.has_background:
                assert preset.prob_thd == preset.area_thd == 0
            settings = resolve(method, dataset, {})
            assert settings["whole_patches"] is False
            assert (settings["stride"] is None) == (settings["window"] == 0)


def test_whose_preset_a_method_takes():
    methods = ("maskclip", "vanilla", "clearclip", "scclip+fsa", "naclip+fsa")
    names = {method: preset_for(method, "voc21").name for method in methods}
    assert names == {
        "maskclip": "naclip-no-pamr/voc21", "vanilla": "naclip-no-pamr/voc21", "clearclip": "naclip-no-pamr/voc21",
        "scclip+fsa": "scclip/voc21", "naclip+fsa": "naclip/voc21",
    }  # fmt: skip
    with pytest.raises(InputError, match="unknown method 'nonsense'"):
        preset_for("nonsense", "voc21")


def test_overrides_go_before_the_preset():
    settings = resolve("scclip", DATASETS["voc21"], {"short_side": 448, "prob_thd": None, "window": 64})
    assert (settings["short_side"], settings["prob_thd"], settings["window"], settings["stride"]) == (448, 0.15, 64, None)
    assert resolve("scclip", DATASETS["voc21"], {"window": 64, "stride": 8})["stride"] == 8


@pytest.mark.parametrize("name", ["prob_thd", "area_thd"])
def test_a_background_threshold_without_a_background_is_refused(name):
    assert resolve("naclip", DATASETS["voc20"], {name: 0.0})[name] == 0
    assert resolve("naclip", DATASETS["coco_object"], {name: 0.2})[name] == 0.2
    for dataset in ("voc20", "context59", "coco_stuff164k", "cityscapes", "ade20k"):
        with pytest.raises(InputError, match=f"{name} is a threshold against the background, and {dataset} has none"):
            resolve("naclip", DATASETS[dataset], {name: 0.2})


def test_every_class_file_fits_its_data_set():
    used = set()
    for preset in PRESETS.values():
        dataset = DATASETS[preset.name.split("/")[1]]
        names = read_names(FOLDER / preset.class_file, dataset)
        assert len(parse_classes(names).names) == dataset.n_classes
        used.add(preset.class_file)
    assert used == {path.name for path in FOLDER.iterdir()}


def test_whose_names_a_method_takes():
    def first_of(authors, dataset, line):
        return read_names(class_file(authors, dataset), DATASETS[dataset])[line]

    assert class_file("fsa", "voc21") == class_file("proxyclip", "voc21") != class_file("naclip", "voc21")
    assert first_of("proxyclip", "voc21", 15) == "person"
    assert first_of("scclip", "voc21", 15) == first_of("naclip", "voc21", 15) == first_of("sclip", "voc21", 15)
    assert first_of("sfp", "voc20", 14).startswith("people, people in shirt")
    assert first_of("sfp", "cityscapes", 11) == "people" and first_of("fsa", "cityscapes", 11) == "person"
    assert "; tree; " in first_of("fsa", "coco_object", 0)
    assert class_file("fsa", "ade20k") == class_file("sfp", "ade20k") == class_file("naclip", "ade20k")


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


def test_published_figures_are_those_recorded():
    assert set(PUBLISHED) == {"naclip", "sclip"}
    assert all(set(figures) == set(DATASETS) for figures in PUBLISHED.values())
    assert (PUBLISHED["naclip"]["voc21"], PUBLISHED["naclip"]["ade20k"], PUBLISHED["naclip"]["voc20"]) == (64.07, 19.05, 83.03)
    assert (PUBLISHED["sclip"]["coco_object"], PUBLISHED["sclip"]["cityscapes"]) == (33.52, 32.34)


def test_the_names_travel_with_the_package(monkeypatch):
    pytest.importorskip("setuptools", reason="what an install holds is asked of setuptools")
    from distutils.core import run_setup

    root = Path(__file__).resolve().parents[1]
    monkeypatch.chdir(root)
    distribution = run_setup("setup.py", stop_after="init")
    assert "core.evaluation" in distribution.packages
    patterns = distribution.package_data["core.evaluation"]
    taken = {path.name for pattern in patterns for path in (root / "core/evaluation").glob(pattern)}
    assert taken == {path.name for path in FOLDER.iterdir()}
