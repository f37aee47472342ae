"""`Segmenter`: a picture and a list of words in, a labelled picture out.

The way of a picture: read, view, tower, method, back onto the picture, PAMR, decision. Each stage is a function of arrays and
settings elsewhere; here they follow one another.
"""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from core.backends import check_backend, load_backend, load_provider
from core.clip.features import ClipFeatures, self_features
from core.clip.model import clip_facts, load_clip_model
from core.clip.saved import Shown, fitting, joined, shown
from core.clip.view import View, cut_windows, normalise, resize_picture, view_of
from core.errors import InputError
from core.methods.limits import said
from core.methods.registry import apply_method, check_layers, method_needs
from core.methods.seen import Seen
from core.primitives.arrays import Array
from core.results.segmentation import Segmentation
from core.segment.pictures import read_picture
from core.segment.prediction import class_probabilities, label_pixels, onto_view, patch_logits, refine
from core.segment.query import ClassList, Query, make_query
from core.segment.settings import BATCH_SIZE, KINDS, check_given, lines, resolve
from core.versions import installed_versions

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image


class Segmenter:
    """Segments pictures by words, without training.

    method: a name of `METHODS`, or a composition BASE+PART.
    backend: "jittor", "torch" or "numpy", which computes everything after the CLIP.
    model: "embedded" (no download), an open_clip name, an open_clip model in hand, or anything that offers what
        `core.clip.model.ClipModel` says, such as a `ClipBackbone`.
    pretrained: with an open_clip name, a tag or a file.
    device: "cpu", "cuda", or None for a GPU where one can be used.
    quick_gelu: overrides the activation found for the weights.
    precision: of the tower's products, "fp32", "fp16" or "bf16".
    batch_size: windows at a time; it changes no result.
    preset: settings of a data set, below what is given here and above the model's own.

    Settings, each the model's own or the published one unless given (`core.segment.settings`):
    {settings}

    Beside them the method's options under the papers' names, such as `gaussian_std=5.0` (`method_options`).

    Results are the same whatever the caller has left on (autocast, inference mode, Jittor's flags...), and from any number of
    threads; on Jittor one thread computes and the others wait. A process forked from one that has computed cannot (start it by
    "spawn"), and says so by an InputError.

    Raises InputError for any setting that cannot work here.
    """

    def __init__(
        self,
        method: str = "naclip",
        backend: str = "jittor",
        *,
        model: Any = "embedded",
        pretrained: "str | Path | None" = None,
        device: str | None = None,
        quick_gelu: bool | None = None,
        precision: str | None = None,
        batch_size: int = 8,
        preset: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        check_backend(backend)
        check_given(method, settings, preset)
        if not BATCH_SIZE.check(batch_size):
            raise InputError(f"batch_size must be {BATCH_SIZE.says}, not {said(batch_size)}")
        self.clip = load_clip_model(model, pretrained, device=device, quick_gelu=quick_gelu, precision=precision)
        self.settings = resolve(method, self.clip, preset or {}, settings)
        check_layers(method, self.settings.options, self.clip.n_layers)
        self.ops = load_backend(backend)
        self.ops.select_device(device)
        self.backend, self.batch_size = backend, batch_size
        self.needs = method_needs(method, self.settings.options)
        self.external_model = _external_model(self.settings.external, self.clip.device)

    def __call__(
        self,
        picture: "str | Path | Image.Image | np.ndarray",
        classes: "Sequence[str] | Query",
        features: ClipFeatures | None = None,
    ) -> Segmentation:
        """The labels and class probabilities of one picture.

        picture: a path, a PIL image or (H, W, 3) uint8 RGB. classes: one string a class, synonyms joined by commas, or what
        `query` made of them. features: `picture_features` of this picture from an earlier pass, so that the tower rests.

        Raises InputError for a picture that cannot be read, classes that are empty, doubled or unknown to the model, or
        features that are not this model's of this picture, seen as here.
        """
        query = self.query(classes)
        image = read_picture(picture)
        with self.ops.undisturbed():
            logits = self.logits(image, query, features)
            return self.decided(image, logits, query)

    def query(self, classes: "Sequence[str] | ClassList | Query") -> Query:
        """Classes and their embeddings, made once for any number of pictures. Raises InputError as `__call__` does."""
        return make_query(self.clip, classes)

    def logits(self, image: np.ndarray, query: Query, features: ClipFeatures | None = None) -> Array:
        """Cosine logits (Q, H, W) of the phrases at every pixel of a picture (H, W, 3) uint8; a native array."""
        view = self.view(image)
        with self.ops.undisturbed():
            seen = (self.embeddings(*one, query) for one in self.passes(image, view, features))
            batches = (patch_logits(self.ops, embeddings, query.text) for embeddings, _ in seen)
            logits = self.ops.resize_bilinear(onto_view(self.ops, batches, view), image.shape[:2])
            if self.settings.pamr:
                logits = refine(self.ops, logits, image, self.settings.pamr_iterations, self.settings.pamr_dilations)
            return logits[0]

    def labels(self, image: np.ndarray, query: Query) -> np.ndarray:
        """The labels (H, W) of a picture (H, W, 3) uint8 alone, without the probabilities made ready."""
        with self.ops.undisturbed():
            return self._labels_and_probabilities(self.logits(image, query), query)[0]

    def decided(self, image: np.ndarray, logits: Array, query: Query) -> Segmentation:
        """Labels and probabilities from the picture (H, W, 3) and its logits (Q, H, W)."""
        with self.ops.undisturbed():
            labels, probabilities = self._labels_and_probabilities(logits, query)
            scores = np.asarray(self.ops.to_numpy(probabilities), dtype=np.float32)
            if len(query.classes.names) < len(query.classes.phrases):  # else the softmax sums to 1 already
                scores = scores / scores.sum(axis=0, keepdims=True)
        return Segmentation(labels.astype(np.int32), scores, list(query.classes.names), image)

    def _labels_and_probabilities(self, logits: Array, query: Query) -> tuple[np.ndarray, Array]:
        s = self.settings
        probabilities = class_probabilities(self.ops, logits, query.classes.phrase_class, s.logit_scale)
        return self.ops.to_numpy(label_pixels(self.ops, probabilities, s.prob_thd, s.area_thd)), probabilities

    def view(self, image: np.ndarray) -> View:
        """How a picture (H, W, 3) is shown to the tower; by its size alone."""
        s = self.settings
        return view_of(*image.shape[:2], s.short_side, self.clip.patch_size, s.window, s.stride, s.whole_patches)

    def passes(
        self, image: np.ndarray, view: View, features: ClipFeatures | None = None, attention: bool | None = None
    ) -> Iterator[tuple[ClipFeatures, np.ndarray]]:
        """The tower's passes over a picture's windows, a batch at a time, each with those windows (b, h, w, 3) uint8.

        features: of all windows, in place of the tower. attention: with block L-2's; None for where the method reads it.
        Raises InputError for features that do not fit.
        """
        attention = "attention" in self.needs if attention is None else attention
        if features is not None:
            reader = self.settings.method if attention else None
            features = fitting(features, self.clip, view, self._shown(image, view), attention=reader)
        resized = resize_picture(image, view.size)
        for first in range(0, len(view.boxes), self.batch_size):
            windows = cut_windows(resized, view.boxes[first : first + self.batch_size])
            if features is None:
                pixels = normalise(windows, self.clip.mean, self.clip.std)
                yield self.clip.features(pixels, attention=attention), windows
            else:
                yield features.pictures(first, first + len(windows)), windows

    def picture_features(self, image: np.ndarray) -> ClipFeatures:
        """What the tower makes of a picture (H, W, 3) uint8 as it is shown here, in NumPy, to be saved or used again.

        A batch of all the picture's windows, or without windows of the picture itself; with block L-2's attention, so that
        every method can read it, and with its `source`.
        """
        view = self.view(image)
        return joined([features for features, _ in self.passes(image, view, attention=True)], self._shown(image, view))

    def embeddings(self, features: ClipFeatures, windows: np.ndarray, query: Query) -> tuple[Array, Seen]:
        """The method's patch embeddings (b, h, w, E) of windows (b, H, W, 3) uint8, native arrays, and what it saw."""
        s = self.settings
        with self.ops.undisturbed():
            external = self.external_features(features, windows)
            return apply_method(self.ops, features, s.method, query.text, external, **s.options)

    def external_features(self, features: ClipFeatures, windows: np.ndarray) -> Array | None:
        """What the method reads of another vision model (b, c, h', w'), of windows (b, H, W, 3); None when it reads none."""
        if "external" not in self.needs:
            return None
        own = self.settings.external == "self"
        return self_features(self.ops, features) if own else self.external_model.features(windows)

    def configuration(self) -> dict[str, Any]:
        """Everything that decides the result, ready for JSON."""
        return {
            **self.settings.record(),
            "external_sha256": getattr(self.external_model, "weights_sha256", None),
            "backend": self.backend,
            **clip_facts(self.clip),
            "versions": installed_versions(),
        }

    def _shown(self, image: np.ndarray, view: View) -> Shown:
        return shown(image, view, self.settings.window, self.settings.stride)


def _external_model(external: str | None, device: Any) -> Any:
    return None if external in (None, "self") else load_provider("external")(external, device)


def _with_settings(segmenter: type[Segmenter]) -> None:
    """Shows the settings among the keywords where Python is asked for them: in `help`, and while typing."""
    segmenter.__doc__ = segmenter.__doc__.replace("{settings}", "\n    ".join(lines()))
    signature = inspect.signature(segmenter.__init__)
    *own, rest = signature.parameters.values()
    each = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None) for name in KINDS]
    segmenter.__init__.__signature__ = signature.replace(parameters=[*own, *each, rest.replace(name="method_options")])


_with_settings(Segmenter)
