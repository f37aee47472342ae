"""Class lists: parsed as meant, and refused by name when they cannot be meant."""

import numpy as np
import pytest

from core.errors import InputError
from core.segment.query import parse_classes, read_classes_file


def error_of(classes: object) -> str:
    """The one line with which a class list is refused."""
    with pytest.raises(InputError) as caught:
        parse_classes(classes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_names_phrases_and_their_classes():
    parsed = parse_classes(["cat", "sofa,couch", " wall ; house  wall;brick\twall "])
    assert parsed.names == ("cat", "sofa", "wall")
    assert parsed.phrases == ("cat", "sofa", "couch", "wall", "house wall", "brick wall")
    assert parsed.phrase_class == (0, 1, 1, 2, 2, 2)


def test_tuples_and_other_scripts():
    assert parse_classes(("Katze", "沙发, 猫")).names == ("Katze", "沙发")


@pytest.mark.parametrize("classes", ["cat", b"cat", None, 3, {"cat"}, {"cat": 1}, np.array(["cat"]), iter(["cat"])])
def test_only_lists_of_strings(classes):
    assert "list of strings" in error_of(classes)


def test_only_strings_in_the_list():
    assert "class 2" in error_of(["cat", 3])


def test_empty_lists_names_and_synonyms():
    assert "empty" in error_of([])
    for empty in ("", "  ", "\n"):
        assert error_of(["cat", empty]) == "class 2 of the list is empty; give it a name"
    for halved in ("cat,", ",cat", "cat,,dog", ";", ","):
        assert "empty synonym" in error_of([halved])


@pytest.mark.parametrize("classes", [["cat", "cat"], ["cat", "dog", "CAT"], ["cat", " cat "], ["cat,tom", "cat,puss"]])
def test_a_doubled_class_is_named(classes):
    assert '"cat"' in error_of(classes).lower() and "twice" in error_of(classes)


def test_a_doubled_synonym_is_named():
    assert '"Sofa" twice' in error_of(["sofa, couch, Sofa"])
    assert '"pet" stands for two classes, "cat" and "dog"' in error_of(["cat,pet", "dog,pet"])
    assert '"cat" stands for two classes' in error_of(["cat", "dog,cat"])
    assert '"dog" stands for two classes' in error_of(["wall", "cat,dog", "dog"])


def test_a_synonym_of_the_first_class_may_be_a_class_as_in_published_lists():
    parsed = parse_classes(["sky, wall, bed", "person", "bed", "bed frame"])
    assert parsed.phrase_class == (0, 0, 0, 1, 2, 3)
    assert parsed.shadowed() == ["bed"]
    assert parse_classes(["sky, bed", "bed, bunk"]).shadowed() == []


@pytest.mark.parametrize("name", ["ca\x1b[31mt", "cat\x00", "\udc80"])
def test_unprintable_names(name):
    assert "cannot be printed" in error_of([name])


@pytest.mark.parametrize("ends", ["", "\n", "\r\n", "\n\n  \n"])
def test_a_file_has_a_class_a_line(tmp_path, ends):
    path = tmp_path / "classes.txt"
    path.write_bytes(("\ufeffsky, wall\r\ncafé; bar\n# grass" + ends).encode())
    assert read_classes_file(path) == ["sky, wall", "café; bar", "# grass"]
    assert parse_classes(read_classes_file(str(path))).names == ("sky", "café", "# grass")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b" \n\n", "empty"),
        (b"cat\n\ndog\n", "line 2"),
        (b"\ncat\n", "line 1"),
        (b"\x89PNG\r\n\x1a\n\xff", "not UTF-8 text"),
        (b"cat\0dog", "not text"),
        ("café".encode("latin-1"), "not UTF-8 text"),
    ],
)
def test_bad_files(tmp_path, content, reason):
    path = tmp_path / "classes.txt"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_classes_file(path)
    assert reason in str(caught.value) and str(path) in str(caught.value)


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_classes_file(tmp_path / "missing.txt")
    with pytest.raises(InputError, match="directory"):
        read_classes_file(tmp_path)
