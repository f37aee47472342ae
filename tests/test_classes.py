"""Class lists: parsed as meant, and refused by name when they cannot be meant."""

import re
from pathlib import Path

import numpy as np
import pytest

import core
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


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ("table (wood, metal)", ["table (wood, metal)"]),
        ("table (wood; metal), desk [a, b], {c, d}", ["table (wood; metal)", "desk [a, b]", "{c, d}"]),
        ("a (b, (c, d), e), f", ["a (b, (c, d), e)", "f"]),
        ("a (b [c, d), e], f", ["a (b [c, d)", "e]", "f"]),
        ("桌子（木, 铁）, 床", ["桌子（木, 铁）", "床"]),
        ("smile :), frown :(, wink", ["smile :)", "frown :(", "wink"]),
        ("a (b, c", ["a (b", "c"]),
        ("a), b (", ["a)", "b ("]),
        ("a ), b (c, d", ["a )", "b (c", "d"]),
        ("(a, b)", ["(a, b)"]),
        ("((a, b), c", ["((a, b)", "c"]),
    ],
)
def test_commas_within_brackets_do_not_separate(text, phrases):
    parsed = parse_classes([text, "other"])
    assert list(parsed.phrases) == [*phrases, "other"] and parsed.names == (phrases[0], "other")


@pytest.mark.parametrize("text", ["(" * 50_000 + ")" * 50_000, "(" * 50_000 + "]" * 50_000, "()" * 50_000, "([{" * 30_000])
def test_many_brackets_take_no_time(text):
    assert parse_classes([text]).names == (text,)


def test_published_lists_are_split_as_they_were():
    files = sorted((Path(core.__file__).parent / "evaluation/published/class_names").glob("*.txt"))
    assert files
    for file in files:
        lines = read_classes_file(file)
        assert lines == [line.strip() for line in file.read_text(encoding="utf-8").rstrip().split("\n")]
        assert list(parse_classes(lines).phrases) == [part.strip() for line in lines for part in re.split("[,;]", line)]


def test_long_words_are_shortened_in_errors():
    long = "x" * 100_000
    for classes in ([long] * 2, ["a", f"b,{long},,"], [f"\x1b{long}"], [f"a,{long}", f"b,{long}"], long, ["a", b"x" * 100_000]):
        assert len(error_of(classes)) < 2000


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
    path.write_bytes(("\ufeffsky, wall\r\ncafé; bar\ngrass #1" + ends).encode())
    assert read_classes_file(path) == ["sky, wall", "café; bar", "grass #1"]
    assert parse_classes(read_classes_file(str(path))).names == ("sky", "café", "grass #1")


@pytest.mark.parametrize(
    ("comments", "told"),
    [(["# animals"], '"# animals"'), (["#animals", "  # und mehr", "#" * 999], 'not classes: "#animals" and 2 more')],
)
def test_comments_are_left_out_and_told(tmp_path, capsys, comments, told):
    path = tmp_path / "classes.txt"
    path.write_text("\n".join([comments[0], "cat", *comments[1:], "dog, puppy", ""]))
    assert read_classes_file(path) == ["cat", "dog, puppy"]
    note = capsys.readouterr().err
    assert note.startswith(f"note: {path}: ") and told in note and note.count("\n") == 1
    path.write_text("cat\n# animals\n\ndog\n")
    with pytest.raises(InputError, match="line 3"):
        read_classes_file(path)
    path.write_text("# animals\n")
    with pytest.raises(InputError, match="empty"):
        read_classes_file(path)
    assert parse_classes(["# animals"]).names == ("# animals",)  # where it is asked for by itself it can be meant


def test_a_class_file_has_no_end_of_classes(tmp_path):
    path = tmp_path / "classes.txt"
    with open(path, "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(InputError, match="more than the limit"):
        read_classes_file(path)


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
