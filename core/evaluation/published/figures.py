"""The mIoU that authors published, and the models they are of: what a run is set beside."""

MODELS = ("ViT-B-16", "ViT-B-16-quickgelu")
"""open_clip's names of the model of all published figures, OpenAI's ViT-B/16."""

_ORDER = ("voc21", "context60", "coco_object", "voc20", "context59", "coco_stuff164k", "cityscapes", "ade20k")
PUBLISHED: dict[str, dict[str, float]] = {
    "naclip": dict(zip(_ORDER, (64.07, 34.99, 36.19, 83.03, 38.35, 25.69, 38.27, 19.05), strict=True)),
    "sclip": dict(zip(_ORDER, (59.63, 31.74, 33.52, 81.54, 34.46, 22.77, 32.34, 16.45), strict=True)),
}
"""mIoU in % of each method on each data set as its project's own README has it, naclip's with PAMR; of others none is kept."""


def published_miou(method: str, dataset: str) -> float | None:
    """The authors' own figure in %, where one is recorded; of a composition there is none."""
    return PUBLISHED.get(method, {}).get(dataset)
