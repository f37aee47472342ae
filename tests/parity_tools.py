"""Faults to put into a backend, and a check of its page."""

import re
from html.parser import HTMLParser
from types import SimpleNamespace
from xml.etree import ElementTree


def bad_call(done: SimpleNamespace, says: str) -> None:
    assert done.code == 2 and done.out == "" and says in done.err
    assert done.err.startswith("error: ") and done.err.count("\n") == 1


def off_by_a_thousandth(f):
    return lambda *a, **k: f(*a, **k) * 1.001


def transposed(f):
    return lambda *a, **k: f(*a, **k).transpose(-1, -2)


def not_a_number(f):
    return lambda *a, **k: f(*a, **k) * float("nan")


def one_short(f):
    return lambda *a, **k: f(*a, **k)[..., :-1]


def in_double(f):
    return lambda *a, **k: f(*a, **k).double()


def next_index(f):
    return lambda *a, **k: f(*a, **k) + 1


def failing(f):
    def fail(*a, **k):
        raise RuntimeError("no such kernel\n  at line 5")

    return fail


def check_page(page: str) -> None:
    """Well formed, nothing loaded from elsewhere, light and dark, drawings that are XML, marks within their panels."""
    open_tags = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attributes):
            for name, value in attributes:
                assert name not in ("href", "srcset") and (name != "src" or value.startswith("data:image/png;base64,"))
            assert tag not in ("script", "link", "iframe", "object")
            if tag not in ("meta", "img", "br", "circle", "line", "rect", "polygon"):
                open_tags.append(tag)

        def handle_startendtag(self, tag, attributes):
            pass

        def handle_endtag(self, tag):
            if tag not in ("circle", "line", "rect", "polygon"):
                assert open_tags.pop() == tag

    Reader().feed(page)
    assert open_tags == [] and "prefers-color-scheme: dark" in page and "url(" not in page and "@import" not in page
    drawings = re.findall(r"<svg viewBox.*?</svg>", page, re.DOTALL)
    assert drawings
    for drawing in drawings:
        root = ElementTree.fromstring(drawing)
        width, height = (float(root.get(side)) for side in ("width", "height"))
        marks = root.findall("circle")
        assert all(0 < float(m.get("cx")) < width and 0 < float(m.get("cy")) < height for m in marks)
