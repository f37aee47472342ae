"""Train the embedded model: a small CLIP on procedural scenes, from captions alone.

python scripts/embedded_model/train.py --out FOLDER [--seed 0] [--quick] writes weights.safetensors and config.json.
Stages are counted in steps and every random stream comes from the seed, so a seed gives the same weights up to
the order of floating-point sums. Interrupted, it goes on from FOLDER/checkpoint.pt, for which the seed and the
stages must be the same.
"""

import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.commands.options import OneLineParser, a_file, exit_code
from core.files.writing import atomic_path, make_folder
from core.scenes import BACKGROUNDS, COLOURS, SHAPES, TRAINING, scene_rng
from embedded_model import step as parts
from torch_backend.clip.embedded import WordTokenizer, build

MAX_LOGIT_SCALE = 60.0
WORKERS = 2
"""Processes of one thread each: each draws its own pictures and its own batch, and gradients are averaged."""

CONFIG: dict[str, Any] = {
    "clip": {
        "embed_dim": 128,
        "vision_cfg": {
            "layers": 12, "width": 128, "head_width": 32, "patch_size": 8, "image_size": 128, "mlp_ratio": 2.0,
        },
        "text_cfg": {"context_length": 24, "width": 128, "heads": 4, "layers": 2},
        "quick_gelu": False,
    },
    "words": ["a", "and", "on", "photo", "of", "the", "shape", *COLOURS, *SHAPES, *BACKGROUNDS],
    "preset": {
        "mean": [0.48145466, 0.4578275, 0.40821073],
        "std": [0.26862954, 0.26130258, 0.27577711],
        "templates": ["{}", "a {}", "the {}"],
        "short_side": 128,
        "window": 0,
        "gaussian_std": 1.5,
        "logit_scale": 40.0,
        "pamr_dilations": [8, 16],
        "pamr_iterations": 10,
    },
}  # fmt: skip
"""What config.json holds: open_clip's arguments, the words in the order of their ids, and the settings to use."""

STAGES = (
    parts.Stage(32, 1200, 128, 1.5e-3, 1e-3, (1.0,), (0.27, 0.47), reuse=8),
    parts.Stage(64, 427, 128, 1e-3, 3e-4, (0.3, 0.4, 0.3), (0.15, 0.45), patch_weight=0.5, decay_steps=1400),
    parts.Stage(
        64, 477, 128, 8.5e-4, 2e-4, (0.4, 0.4, 0.2), (0.18, 0.5), (0.16, 0.34),
        patch_weight=0.5, keys=True, warm_up=1, decay_steps=1200,
    ),
    parts.Stage(
        64, 1100, 64, 6.8e-4, 3e-4, (0.5, 0.3, 0.2), (0.2, 0.6), (0.16, 0.36),
        patch_weight=0.5, keys=True, warm_up=1, unnamed=3,
    ),
    parts.Stage(
        128, 262, 32, 3e-4, 1e-5, (0.4, 0.2, 0.2, 0.2), (0.15, 0.43), (0.13, 0.28),
        patch_weight=0.5, keys=True, unnamed=3, decay_steps=800,
    ),
    parts.Stage(
        128, 300, 32, 2.3e-4, 1e-5, (0.4, 0.2, 0.2, 0.2), (0.15, 0.43), (0.13, 0.28),
        patch_weight=0.5, keys=True, warm_up=1, unnamed=3, pool=2048,
    ),
)  # fmt: skip
QUICK = (parts.Stage(32, 40, 16, 1.5e-3, 1e-3, (0.5, 0.5), (0.3, 0.45), patch_weight=0.5, keys=True, warm_up=3, pool=128),)


@dataclass(frozen=True)
class Trainer:
    """float32 master weights, the copy that computes, the optimiser of the former, and the tokenizer."""

    master: nn.Module
    compute: nn.Module
    optimiser: torch.optim.Optimizer
    tokenizer: WordTokenizer

    def step(self, loss: Tensor, lr: float) -> None:
        """Average the workers' gradients of `loss`, update the master weights, refresh the copy."""
        master, compute = list(self.master.parameters()), list(self.compute.parameters())
        for p in compute:
            p.grad = None
        loss.backward()
        gradient = torch.cat([p.grad.float().flatten() for p in compute]) / WORKERS
        dist.all_reduce(gradient)
        for p, part in zip(master, gradient.split([p.numel() for p in master]), strict=True):
            p.grad = part.view_as(p)
        nn.utils.clip_grad_norm_(master, 1.0, foreach=True)
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        self.optimiser.step()
        with torch.no_grad():
            self.master.logit_scale.clamp_(max=math.log(MAX_LOGIT_SCALE))
            torch._foreach_copy_(compute, master)


def make_trainer(seed: int, compute_dtype: torch.dtype = torch.bfloat16) -> Trainer:
    """A fresh model from the seed, with AdamW (weight decay on matrices only); bfloat16 is slow where a CPU has none."""
    torch.manual_seed(seed)
    master, tokenizer = build(CONFIG)
    compute = build(CONFIG)[0].to(compute_dtype)
    compute.load_state_dict(master.state_dict())
    matrices = [p for p in master.parameters() if p.ndim >= 2]
    others = [p for p in master.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
    return Trainer(master, compute, torch.optim.AdamW(groups, 1e-3, betas=(0.9, 0.98), foreach=True), tokenizer)


def normalise(images: Tensor, dtype: torch.dtype) -> Tensor:
    """(B, 3, S, S) uint8 to the pixels that the model takes."""
    mean, std = (torch.tensor(CONFIG["preset"][name])[:, None, None] for name in ("mean", "std"))
    return ((images.float() / 255 - mean) / std).to(dtype)


def batch_loss(trainer: Trainer, stage: parts.Stage, pool: parts.Pool, rows: np.ndarray, rng: np.random.Generator) -> Tensor:
    """The loss of the pictures `rows` of a pool: contrastive, plus the patch term where the stage has one."""
    model = trainer.compute
    images = pool.images[rows]
    if rng.random() < 0.5:
        images = images.flip(3)
    captions, stated = parts.caption_batch(pool, rows, rng)
    free = model.visual.grid_size[0] - stage.size // model.visual.patch_size[0] + 1
    corners = rng.integers(0, free, (len(rows), 2))
    image, tokens = parts.encode_image(model.visual, normalise(images, model.logit_scale.dtype), corners)
    text = parts.encode_text(model, trainer.tokenizer(captions))
    scale = model.logit_scale.float().exp()
    logits = scale * F.normalize(image.float(), dim=-1) @ F.normalize(text.float(), dim=-1).T
    loss = parts.contrastive_loss(logits, pool.facts[rows], stated)
    if not stage.patch_weight:
        return loss
    phrases = [str(rng.choice(("", "a ", "the "))) + phrase for phrase in parts.PATCH_PHRASES]
    words = F.normalize(parts.encode_text(model, trainer.tokenizer(phrases)).float(), dim=-1)
    present = pool.facts[rows][:, [parts.FACT_INDEX[phrase] for phrase in parts.PATCH_PHRASES]] > 0
    paths = parts.patch_paths(model.visual, tokens, stage.keys)
    losses = [parts.patch_loss(F.normalize(path.float(), dim=-1) @ words.T, present, scale) for path in paths]
    return loss + stage.patch_weight * sum(losses) / len(losses)


def learning_rate(stage: parts.Stage, step: int) -> float:
    """Cosine from `lr` to `lr_end` over the stage (or `decay_steps`), after a linear warm-up."""
    cosine = (1 + math.cos(math.pi * step / (stage.decay_steps or stage.steps))) / 2
    return (stage.lr_end + (stage.lr - stage.lr_end) * cosine) * min(1.0, (step + 1) / stage.warm_up)


def save_checkpoint(trainer: Trainer, folder: Path, stage: int, step: int) -> None:
    """Write everything needed to go on after `step` steps of `stage`."""
    state = {"model": trainer.master.state_dict(), "optimiser": trainer.optimiser.state_dict(), "at": (stage, step)}
    with atomic_path(folder / "checkpoint.pt") as temporary:
        torch.save(state, temporary)


def load_checkpoint(trainer: Trainer, folder: Path) -> tuple[int, int]:
    """Restore a checkpoint where there is one; returns the (stage, step) to go on from."""
    path = folder / "checkpoint.pt"
    if not path.exists():
        return 0, 0
    state = torch.load(path, weights_only=True)
    trainer.master.load_state_dict(state["model"])
    trainer.compute.load_state_dict(state["model"])
    trainer.optimiser.load_state_dict(state["optimiser"])
    return state["at"]


def train_stage(trainer: Trainer, stage: parts.Stage, index: int, first: int, seed: int, rank: int, folder: Path) -> None:
    """Run stage number `index` from step `first`; worker 0 reports every 10 steps and saves every 90 seconds."""
    per_pool = stage.pool // stage.batch * stage.reuse
    pool, losses, begun, saved = None, [], time.time(), time.time()
    for step in range(first, stage.steps):
        if pool is None or step % per_pool == 0:
            pool = parts.make_pool(stage, scene_rng(TRAINING, seed, index, step // per_pool, 0, rank))
        rng = scene_rng(TRAINING, seed, index, step, 1, rank)
        rows = rng.choice(stage.pool, stage.batch, replace=False)
        loss = batch_loss(trainer, stage, pool, rows, rng)
        trainer.step(loss, learning_rate(stage, step))
        losses.append(loss.item())
        if rank:
            continue
        if (step + 1) % 10 == 0:
            speed = WORKERS * stage.batch * len(losses) / (time.time() - begun)
            scale = trainer.master.logit_scale.exp().item()
            print(f"stage {index} step {step + 1}/{stage.steps} loss {np.mean(losses[-10:]):.3f} scale {scale:.1f} "
                  f"{speed:.0f} images/s", flush=True)  # fmt: skip
        if time.time() - saved > 90 or step + 1 == stage.steps:
            save_checkpoint(trainer, folder, index, step + 1)
            saved = time.time()


def write_model(model: nn.Module, folder: Path, seed: int, stages: Sequence[parts.Stage]) -> None:
    """Write weights.safetensors (float16) and config.json."""
    from safetensors.torch import save_file

    with atomic_path(folder / "weights.safetensors") as temporary:
        save_file({name: tensor.half().contiguous() for name, tensor in model.state_dict().items()}, temporary)
        temporary.chmod(0o644)
    config = {**CONFIG, "training": {"seed": seed, "workers": WORKERS, "stages": [asdict(stage) for stage in stages]}}
    with atomic_path(folder / "config.json") as temporary:
        temporary.write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def work(rank: int, folder: Path, seed: int, stages: Sequence[parts.Stage], meeting: str) -> None:
    """One worker: go through the stages; worker 0 writes the model after each."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=WORKERS)
    trainer = make_trainer(seed, torch.float32 if stages == QUICK else torch.bfloat16)
    stage, step = load_checkpoint(trainer, folder)
    dist.barrier()
    for index in range(stage, len(stages)):
        train_stage(trainer, stages[index], index, step if index == stage else 0, seed, rank, folder)
        if rank == 0:
            write_model(trainer.master, folder, seed, stages)
    dist.destroy_process_group()


def train(folder: Path, seed: int = 0, stages: Sequence[parts.Stage] = STAGES) -> None:
    """Train through the stages and write the model to `folder`."""
    os.environ.update(OMP_NUM_THREADS="1", MALLOC_MMAP_MAX_="0", MALLOC_TRIM_THRESHOLD_=str(2**34))
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    with tempfile.TemporaryDirectory() as meeting:
        mp.spawn(work, (make_folder(folder), seed, stages, f"{meeting}/store"), nprocs=WORKERS)


def main() -> int:
    """Command line."""
    parser = OneLineParser(description="Train the embedded model on procedural scenes.")
    parser.add_argument("--out", type=a_file, required=True, help="folder for the model and the checkpoint")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="a smoke run of seconds, in float32")
    args = parser.parse_args()
    stages = QUICK if args.quick else STAGES
    return exit_code(lambda: train(args.out, args.seed, stages) or 0, "interrupted; the same call goes on from the checkpoint")


if __name__ == "__main__":
    sys.exit(main())
