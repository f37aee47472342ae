"""Loop-form oracles: each formula of METHODS as it is written, place by place, in float64. Slow, and hard to get wrong."""

import math

import numpy as np


def gaussian_window(h, w, std):
    out = np.zeros((h, w))
    for i in range(h):
        for j in range(w):
            out[i, j] = math.exp(-((i - (h - 1) / 2) ** 2 + (j - (w - 1) / 2) ** 2) / (2 * std**2))
    return out


def neighbourhood_addition(h, w, std, class_token):
    n, first = h * w, int(class_token)
    out = np.zeros((n + first, n + first))
    for p in range(n):
        for r in range(n):
            (i, j), (m, k) = divmod(p, w), divmod(r, w)
            out[p + first, r + first] = math.exp(-((i - m) ** 2 + (j - k) ** 2) / (2 * std**2))
    return out


def softmax(row):
    e = [math.exp(x - max(row)) for x in row]
    return [x / sum(e) for x in e]


def attention_weights(a, b, scale, addition=None):
    batch, heads, n, _ = a.shape
    m = b.shape[2]
    out = np.zeros((batch, heads, n, m))
    for i in range(batch):
        for h in range(heads):
            for p in range(n):
                row = [scale * float(a[i, h, p] @ b[i, h, r]) for r in range(m)]
                if addition is not None:
                    row = [x + float(addition[p, r]) for r, x in enumerate(row)]
                out[i, h, p] = softmax(row)
    return out


def resize_bilinear(x, size, align_corners):
    h, w = x.shape[-2:]
    out = np.zeros((*x.shape[:-2], *size))
    for i in range(size[0]):
        for j in range(size[1]):
            y, z = _source(i, h, size[0], align_corners), _source(j, w, size[1], align_corners)
            y0, z0 = min(int(y), h - 1), min(int(z), w - 1)
            y1, z1 = min(y0 + 1, h - 1), min(z0 + 1, w - 1)
            fy, fz = y - y0, z - z0
            top = (1 - fz) * x[..., y0, z0] + fz * x[..., y0, z1]
            bottom = (1 - fz) * x[..., y1, z0] + fz * x[..., y1, z1]
            out[..., i, j] = (1 - fy) * top + fy * bottom
    return out


def _source(i, n_in, n_out, align_corners):
    if align_corners:
        return 0.0 if n_out == 1 else i * (n_in - 1) / (n_out - 1)
    return max((i + 0.5) * n_in / n_out - 0.5, 0.0)


def pamr(image, mask, num_iter, dilations):
    """The mask already has the picture's size."""
    batch, _, height, width = image.shape
    mask = mask.astype(np.float64)
    shifts = [(d * i, d * j) for d in dilations for i in (-1, 0, 1) for j in (-1, 0, 1)]
    for b in range(batch):
        affinity = {}
        for y in range(height):
            for x in range(width):
                affinity[y, x] = _affinity(image[b].astype(np.float64), y, x, shifts)
        for _ in range(num_iter):
            refined = np.zeros_like(mask[b])
            for (y, x), weights in affinity.items():
                for (ny, nx), weight in weights:
                    refined[:, y, x] += weight * mask[b, :, ny, nx]
            mask[b] = refined
    return mask


def _affinity(image, y, x, shifts):
    channels, height, width = image.shape
    places = [(min(max(y + i, 0), height - 1), min(max(x + j, 0), width - 1)) for i, j in shifts]
    neighbours = [place for place, shift in zip(places, shifts, strict=True) if shift != (0, 0)]
    logits = []
    for ny, nx in neighbours:
        terms = []
        for k in range(channels):
            std = np.std([image[k, py, px] for py, px in places], ddof=1)
            terms.append(-abs(image[k, y, x] - image[k, ny, nx]) / (1e-8 + 0.1 * std))
        logits.append(sum(terms) / channels)
    return list(zip(neighbours, softmax(logits), strict=True))


def last_block(features, attn_strategy, arch, gaussian_std=5.0):
    """Patch embeddings (B, N, E) of any last-block method, head by head and image by image."""
    w = {name: np.asarray(x, dtype=np.float64) for name, x in features.weights.arrays.items()}
    eps, n_heads, (h, width_grid) = features.weights.eps, features.weights.n_heads, features.grid
    out = []
    for x in np.asarray(features.hidden[-1], dtype=np.float64):
        tokens, width = x.shape
        d = width // n_heads
        projected = layer_norm(x, w["ln_1.weight"], w["ln_1.bias"], eps) @ w["attn.in_proj_weight"].T + w["attn.in_proj_bias"]
        q, k, v = projected[:, :width], projected[:, width : 2 * width], projected[:, 2 * width :]
        merged = np.zeros_like(x)
        heads = [slice(i * d, (i + 1) * d) for i in range(n_heads)]
        omega = neighbourhood_addition(h, width_grid, gaussian_std, True)
        strength = np.mean([np.linalg.norm(q[p, s]) * np.linalg.norm(k[r, s]) for s in heads
                            for p in range(tokens) for r in range(tokens)])  # fmt: skip
        for s in heads:
            merged[:, s] = _weights(attn_strategy, q[:, s], k[:, s], d**-0.5, omega, strength) @ v[:, s]
        y = merged @ w["attn.out_proj.weight"].T + w["attn.out_proj.bias"]
        if arch == "vanilla":
            y = x + y
            z = layer_norm(y, w["ln_2.weight"], w["ln_2.bias"], eps) @ w["mlp.c_fc.weight"].T + w["mlp.c_fc.bias"]
            z = np.vectorize(ACTIVATIONS[features.weights.activation])(z)
            y = y + z @ w["mlp.c_proj.weight"].T + w["mlp.c_proj.bias"]
        out.append(layer_norm(y[1:], w["ln_post.weight"], w["ln_post.bias"], eps) @ w["proj"])
    return np.stack(out)


ACTIVATIONS = {
    "gelu": lambda t: 0.5 * t * (1 + math.erf(t / math.sqrt(2))),
    "quick_gelu": lambda t: t / (1 + math.exp(-1.702 * t)),
}


def _weights(strategy, q, k, s, omega, strength):
    rows = lambda logits: np.array([softmax(list(row)) for row in logits])  # noqa: E731
    return {
        "vanilla": lambda: rows(q @ k.T * s),
        "qq": lambda: rows(q @ q.T * s),
        "kk": lambda: rows(k @ k.T * s),
        "csa": lambda: rows(q @ q.T * s) + rows(k @ k.T * s),
        "naclip": lambda: rows(k @ k.T * s + omega),
        "nonly": lambda: rows(omega * s * strength),
        "identity": lambda: np.eye(len(q)),
    }[strategy]()


def layer_norm(x, weight, bias, eps):
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + eps) * weight + bias
