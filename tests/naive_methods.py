"""The methods of several steps as METHODS writes them: a picture at a time, in NumPy and float64, nothing shared or saved.

A picture is (hidden, weights): the hidden states (1 + N, D) of its blocks, and the last block's weights.
"""

import numpy as np
from naive import layer_norm, neighbourhood_addition, resize_bilinear, softmax


def pictures(features):
    """The pictures of a batch, each as its hidden states in float64, and the weights in float64."""
    weights = {name: np.asarray(x, dtype=np.float64) for name, x in features.weights.arrays.items()}
    for b in range(len(features.hidden[-1])):
        yield [np.asarray(x[b], dtype=np.float64) for x in features.hidden], weights


def rows(logits):
    return np.array([softmax(list(row)) for row in logits])


def cosines(a, b):
    return np.array([[x @ y / np.linalg.norm(x) / np.linalg.norm(y) for y in b] for x in a])


def contrast(similarity, gamma=3.0, beta=1.0):
    """Softmax of gamma (S - beta mean S) over its entries that are not negative; every row here has one."""
    logits = gamma * (similarity - beta * similarity.mean())
    weights = np.where(logits >= 0, np.exp(logits), 0)
    assert weights.any(axis=1).all()
    return weights / weights.sum(axis=1, keepdims=True)


def thresholded(similarity, beta):
    return np.where(similarity >= beta, similarity, 0)


def aggregate(patches, similarity):
    return similarity @ patches / (similarity.sum(axis=1, keepdims=True) + 1e-6)


def interpolated(patches, outliers, grid):
    """Outliers (N,) replaced by the mean of their neighbours on the grid that are none; with no such neighbour, kept."""
    out, (h, w) = patches.copy(), grid
    for p in np.flatnonzero(outliers):
        i, j = divmod(p, w)
        around = [r * w + c for r in range(max(i - 1, 0), min(i + 2, h)) for c in range(max(j - 1, 0), min(j + 2, w))]
        sound = [n for n in around if not outliers[n]]
        if sound:
            out[p] = patches[sound].mean(axis=0)
    return out


def lof_outliers(patches, n_neighbors, contamination):
    """SC-CLIP's variant: squared distances, and the point's own reach."""
    distances = np.array([[np.sum((a - b) ** 2) for b in patches] for a in patches])
    near = [[j for j in np.argsort(row) if j != i][:n_neighbors] for i, row in enumerate(distances)]
    reach = np.array([distances[i, own[-1]] for i, own in enumerate(near)])
    scores = np.array([np.mean(reach[i] / reach[own]) for i, own in enumerate(near)])
    return scores > np.quantile(scores, 1 - contamination)


def sinks(attention, n_outliers, factor):
    """SOM: of the patches that draw `factor` times more than they keep, those that draw most; attention (H, 1 + N, 1 + N)."""
    mean = np.asarray(attention, dtype=np.float64).mean(axis=0)
    candidates = [p for p in range(1, len(mean)) if factor * mean[0, p] > mean[p, p]]
    chosen = sorted(candidates, key=lambda p: mean[0, p])[-n_outliers:]
    return np.isin(np.arange(1, len(mean)), chosen)


def longest(patches, n_outliers):
    return np.isin(np.arange(len(patches)), np.argsort(np.linalg.norm(patches, axis=1))[-n_outliers:])


class LastBlock:
    """The last block of a picture, head by head."""

    def __init__(self, features, weights):
        self.w, self.eps, self.n_heads, self.grid = weights, features.weights.eps, features.weights.n_heads, features.grid

    def projected(self, x):
        """q, k and v, each (M, D)."""
        normal = layer_norm(x, self.w["ln_1.weight"], self.w["ln_1.bias"], self.eps)
        return np.split(normal @ self.w["attn.in_proj_weight"].T + self.w["attn.in_proj_bias"], 3, axis=1)

    def by_tokens(self, a, b, omega=0.0):
        """softmax(a b' s + omega) of every head (H, M, M)."""
        a, b = (np.split(x, self.n_heads, axis=1) for x in (a, b))
        return np.array([rows(x @ y.T * x.shape[1] ** -0.5 + omega) for x, y in zip(a, b, strict=True)])

    def mixed(self, attention, v):
        """attention (H, M, M') or (1, M, M'), heads being columns of v (M', D)."""
        return np.concatenate([a @ x for a, x in zip(attention, np.split(v, len(attention), axis=1), strict=True)], axis=1)

    def out(self, mixed):
        return mixed @ self.w["attn.out_proj.weight"].T + self.w["attn.out_proj.bias"]

    def embedded(self, tokens):
        return layer_norm(tokens, self.w["ln_post.weight"], self.w["ln_post.bias"], self.eps) @ self.w["proj"]

    def fed_back(self, attention, v, text, isolate=True, prune=True, ensemble=True, sharpness=3.0, mass=0.45):
        """FSA: what the values (M', D) become under `attention`, corrected by its prediction; and A' (M, M)."""
        before = self.mixed(attention, v)
        logits = 20 * cosines(self.embedded(self.out(before)), text)
        if isolate:
            logits = logits - 35 * cosines(self.embedded(self.out(v.mean(axis=0, keepdims=True))), text)
        p = rows(logits)
        divergence = np.array([[np.sum(a * (np.log(a + 1e-10) - np.log(b + 1e-10))) for b in p] for a in p])
        corrected = np.array([links(row, sharpness, mass if prune else None) for row in 1 / (1 + np.maximum(divergence, 0))])
        after = corrected @ v
        if ensemble:
            after = (corrected @ before + self.mixed(attention, after) + after) / 3
        return after, corrected


def links(similarity, sharpness, mass):
    """Softmax of sim exp(lambda sim) over the strongest that hold at most `mass` of softmax(sim) together, or the strongest."""
    order = np.argsort(-similarity)
    kept = np.ones(len(similarity), dtype=bool)
    if mass is not None:
        held = np.cumsum(softmax(list(similarity[order])))
        kept[order] = (held <= mass) | (np.arange(len(order)) == 0)
        kept |= similarity >= similarity[kept].min() - 1e-12  # equal links stay or go together
    weights = np.where(kept, np.exp(similarity * np.exp(sharpness * similarity)), 0)
    return weights / weights.sum()


def outliers_of(hidden, attention, options):
    """(N,) booleans of a picture by scclip's and sfp's detectors."""
    detector, patches = options.get("detector", "LOF"), hidden[-1][1:]
    if detector == "SOM":
        return sinks(attention, options["n_outliers"], options["res_cls"] * options["res_scale"])
    if detector == "L2":
        return longest(patches, options["n_outliers"])
    return lof_outliers(patches, options["n_neighbors"], options["contamination"])


def calibrated(features, method, options, std=None, text=None):
    """scclip's and sfp's embeddings (B, N, E), and the attention of step 3 (B, H, N, N); fed back where there is a text.

    options: all that have an effect. std: of the neighbourhood added to the logits of tokens, None for none.
    """
    beta, res_cls, (first, final) = options["beta"], options["res_cls"], options["multi_layers"]
    omega = 0.0 if std is None else neighbourhood_addition(*features.grid, std, False)
    embeddings, attentions = [], []
    for b, (hidden, weights) in enumerate(pictures(features)):
        block, outliers = LastBlock(features, weights), outliers_of(hidden, features.attention[b], options)
        repaired = interpolated(hidden[options["pre_layer"]][1:], outliers, features.grid)
        similarity = cosines(repaired, repaired)
        pre = thresholded(similarity, beta)
        post = hidden[options["post_layer"]][1:]
        post = thresholded(cosines(post, post), beta)
        content = contrast(similarity if method == "scclip" else pre)[None]

        def attention(x, fused, block=block, content=content):
            q, k, _ = block.projected(x)
            kk, qq, qk = (block.by_tokens(a, b, omega) for a, b in ((k, k), (q, q), (q, k)))
            if method == "scclip":
                return (content + (qk if options["self_attention"] == "qk" else kk)) / 2
            if options["attention"] == "notes":
                return (kk + qq) / 2
            return content if fused else (kk + qq + content) / 3

        tokens = aggregate(interpolated(hidden[-1][1:], outliers, features.grid), pre)
        attentions.append(attention(tokens, fused=False))
        values = block.projected(tokens)[2]
        attended = block.mixed(attentions[-1], values) if text is None else block.fed_back(attentions[-1], values, text)[0]
        tokens = aggregate(block.out(attended) + res_cls * hidden[-1][0], post)
        summed = np.sum(hidden[first : final + 1], axis=0)
        mixed = block.mixed(attention(summed[1:], fused=True), block.projected(summed[1:])[2])
        tokens = tokens + aggregate(block.out(mixed) + res_cls * summed[0], post)
        embeddings.append(block.embedded(tokens))
    return np.array(embeddings), np.array(attentions)


def by_external(features, fields, text=None, beta=1.2, gamma=3.0, **feedback):
    """proxyclip's embeddings (B, M, E) and its attention (B, 1, M, M); fsa's where there is a text."""
    embeddings, attentions = [], []
    for (hidden, weights), field in zip(pictures(features), np.asarray(fields, dtype=np.float64), strict=True):
        block = LastBlock(features, weights)
        places = field.reshape(len(field), -1).T
        attention = contrast(cosines(places, places), gamma, beta)[None]
        values = block.projected(hidden[-1][1:])[2]
        values = resize_bilinear(values.T.reshape(-1, *features.grid), field.shape[1:], False).reshape(values.shape[1], -1).T
        if text is None:
            mixed = block.mixed(attention, values)
        else:
            mixed, _ = block.fed_back(attention, values, text, **feedback)
        embeddings.append(block.embedded(block.out(mixed)))
        attentions.append(attention)
    return np.array(embeddings), np.array(attentions)


PAIRS = {"naclip": ("kk",), "kk": ("kk",), "qq": ("qq",), "csa": ("qq", "kk"), "vanilla": ("qk",)}


def fed_last_block(features, strategy, text, std=None, repaired=None, **feedback):
    """A last-block method in the reduced block, fed back: embeddings (B, N, E), the attention between patches, and A'.

    repaired: n_neighbors and contamination of LOF, None for no repair. std: as in `calibrated`, class token included.
    """
    embeddings, attentions, corrected = [], [], []
    omega = 0.0 if std is None else neighbourhood_addition(*features.grid, std, True)
    for hidden, weights in pictures(features):
        block, x = LastBlock(features, weights), hidden[-1]
        if repaired is not None:
            x = np.concatenate([x[:1], interpolated(x[1:], lof_outliers(x[1:], *repaired), features.grid)])
        projected = dict(zip("qkv", block.projected(x), strict=True))
        if strategy == "identity":
            attention = np.eye(len(x) - 1)[None]
        else:
            whole = sum(block.by_tokens(projected[a], projected[b], omega) for a, b in PAIRS[strategy])[:, 1:, 1:]
            attention = whole / whole.sum(axis=-1, keepdims=True)
        mixed, new = block.fed_back(attention, projected["v"][1:], text, **feedback)
        embeddings.append(block.embedded(block.out(mixed)))
        attentions.append(attention)
        corrected.append(new)
    return np.array(embeddings), np.array(attentions), np.array(corrected)
