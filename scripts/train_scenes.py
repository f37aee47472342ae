"""Train the embedded model: a small CLIP on procedural scenes, from captions alone.

python scripts/train_scenes.py --out FOLDER [--seed 0] [--quick] writes weights.safetensors and config.json.
Stages are counted in steps and every random stream comes from the seed, so a seed gives the same weights up to
the order of floating-point sums. Interrupted, it goes on from FOLDER/checkpoint.pt.
"""

import argparse
import json
import math
import os
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from core.scenes import BACKGROUNDS, COLOURS, SHAPES, scene_rng
from core.scenes.sampling import TRAINING
from scripts import scene_training as parts
from torch_backend.embedded_clip import WordTokenizer, build

MAX_LOGIT_SCALE = 60.0
WORKERS = 2
"""Processes of one thread each; they share gradients, each has its own pool and its own batch."""

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
        "short_side": 128,
        "mean": [0.48145466, 0.4578275, 0.40821073],
        "std": [0.26862954, 0.26130258, 0.27577711],
        "gaussian_std": 1.0,
        "logit_scale": 40.0,
        "pamr": {"num_iter": 10, "dilations": [1, 2]},
        "templates": ["{}", "a {}", "the {}"],
    },
}  # fmt: skip

STAGES = (
    parts.Stage(32, 1200, 128, 1.5e-3, 1e-3, (1.0,), (0.27, 0.47), reuse=8),
    parts.Stage(64, 1400, 128, 1e-3, 3e-4, (0.3, 0.4, 0.3), (0.15, 0.45), patch_weight=0.5),
    parts.Stage(128, 500, 64, 4e-4, 1e-5, (0.2, 0.3, 0.3, 0.2), (0.13, 0.45), (0.12, 0.28), patch_weight=0.5),
)
QUICK = (parts.Stage(32, 30, 64, 1.5e-3, 1e-3, (0.5, 0.5), (0.3, 0.45), patch_weight=0.5, warm_up=5, pool=512),)


@dataclass
class Trainer:
    """float32 master weights, the bfloat16 copy that computes, and the optimiser."""

    master: torch.nn.Module
    compute: torch.nn.Module
    optimiser: torch.optim.Optimizer
    tokenizer: WordTokenizer

    def step(self, loss: Tensor, lr: float) -> None:
        """Back-propagate through the copy, update the master weights, refresh the copy."""
        for p in self.compute.parameters():
            p.grad = None
        loss.backward()
        pairs = list(zip(self.master.parameters(), self.compute.parameters(), strict=True))
        flat = torch.cat([small.grad.float().flatten() for _, small in pairs]) / WORKERS
        dist.all_reduce(flat)
        for (big, _), part in zip(pairs, flat.split([big.numel() for big, _ in pairs]), strict=True):
            big.grad = part.view_as(big)
        torch.nn.utils.clip_grad_norm_(self.master.parameters(), 1.0, foreach=True)
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        self.optimiser.step()
        with torch.no_grad():
            self.master.logit_scale.clamp_(max=math.log(MAX_LOGIT_SCALE))
            torch._foreach_copy_([small for _, small in pairs], [big for big, _ in pairs])


def make_trainer(seed: int) -> Trainer:
    """A fresh model from the seed, with AdamW (weight decay on matrices only)."""
    torch.manual_seed(seed)
    master, tokenizer = build(CONFIG)
    compute = build(CONFIG)[0].bfloat16()
    compute.load_state_dict(master.state_dict())
    matrices = [p for p in master.parameters() if p.ndim >= 2]
    others = [p for p in master.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
    return Trainer(master, compute, torch.optim.AdamW(groups, 1e-3, betas=(0.9, 0.98), foreach=True), tokenizer)


def batch_loss(trainer: Trainer, stage: parts.Stage, pool: parts.Pool, rows: np.ndarray, rng: np.random.Generator) -> Tensor:
    """The loss of one batch: contrastive, plus the patch term where the stage has one."""
    model, mean, std = trainer.compute, *(torch.tensor(CONFIG["preset"][k])[:, None, None] for k in ("mean", "std"))
    images = pool.images[rows]
    if rng.random() < 0.5:
        images = images.flip(3)
    pixels = ((images.float() / 255 - mean) / std).bfloat16()
    captions, stated = [], torch.zeros(len(rows), len(parts.FACTS))
    for i, row in enumerate(rows):
        text, facts = parts.caption(pool.objects[row], pool.backgrounds[row], rng)
        captions.append(text)
        stated[i, [parts.FACT_INDEX[fact] for fact in facts]] = 1
    free = model.visual.grid_size[0] - stage.size // 8 + 1
    corners = rng.integers(0, free, (len(rows), 2))
    image, dense = parts.encode_image(model.visual, pixels, corners, stage.patch_weight > 0)
    text = parts.encode_text(model, trainer.tokenizer(captions))
    scale = model.logit_scale.float().exp()
    logits = scale * F.normalize(image.float(), dim=-1) @ F.normalize(text.float(), dim=-1).T
    loss = parts.contrastive_loss(logits, pool.facts[rows], stated)
    if dense is None:
        return loss
    phrases = [str(rng.choice(("", "a ", "the "))) + phrase for phrase in parts.PATCH_PHRASES]
    words = F.normalize(parts.encode_text(model, trainer.tokenizer(phrases)).float(), dim=-1)
    cosines = F.normalize(dense.float(), dim=-1) @ words.T
    present = pool.facts[rows][:, [parts.FACT_INDEX[phrase] for phrase in parts.PATCH_PHRASES]] > 0
    return loss + stage.patch_weight * parts.patch_loss(cosines, present, scale)


def learning_rate(stage: parts.Stage, step: int) -> float:
    """Cosine from `lr` to `lr_end` over the stage, after a linear warm-up."""
    cosine = (1 + math.cos(math.pi * step / stage.steps)) / 2
    return (stage.lr_end + (stage.lr - stage.lr_end) * cosine) * min(1.0, (step + 1) / stage.warm_up)


def save_atomically(write: Any, path: Path) -> None:
    """Call `write(temporary path)` and move the finished file to `path`."""
    temporary = path.with_name(path.name + ".tmp")
    write(temporary)
    os.replace(temporary, path)


def save_checkpoint(trainer: Trainer, folder: Path, stage: int, step: int) -> None:
    """Everything needed to go on from after `step` steps of `stage`."""
    state = {"model": trainer.master.state_dict(), "optimiser": trainer.optimiser.state_dict(), "at": (stage, step)}
    save_atomically(lambda path: torch.save(state, path), folder / "checkpoint.pt")


def load_checkpoint(trainer: Trainer, folder: Path) -> tuple[int, int]:
    """Restore a checkpoint where there is one; returns (stage, step) to go on from."""
    path = folder / "checkpoint.pt"
    if not path.exists():
        return 0, 0
    state = torch.load(path, weights_only=True)
    trainer.master.load_state_dict(state["model"])
    trainer.compute.load_state_dict(state["model"])
    trainer.optimiser.load_state_dict(state["optimiser"])
    return state["at"]


def train_stage(trainer: Trainer, stages: tuple[parts.Stage, ...], index: int, first: int, seed: int, folder: Path, rank: int) -> list[float]:
    """Run one stage from step `first`; returns the losses."""
    stage, losses, pool, begun, saved = stages[index], [], None, time.time(), time.time()
    per_pool = stage.pool // stage.batch * stage.reuse
    for step in range(first, stage.steps):
        if pool is None or step % per_pool == 0:
            pool = parts.make_pool(stage, scene_rng(TRAINING, seed, index, step // per_pool, 0, rank))
        rng = scene_rng(TRAINING, seed, index, step, 1, rank)
        rows = rng.choice(stage.pool, stage.batch, replace=False)
        loss = batch_loss(trainer, stage, pool, rows, rng)
        trainer.step(loss, learning_rate(stage, step))
        losses.append(loss.item())
        if rank == 0 and (step + 1) % 10 == 0:
            speed = WORKERS * stage.batch * len(losses) / (time.time() - begun)
            print(f"stage {index} step {step + 1}/{stage.steps} loss {np.mean(losses[-10:]):.3f} "
                  f"scale {trainer.master.logit_scale.exp().item():.1f} {speed:.0f} images/s", flush=True)  # fmt: skip
        if rank == 0 and (time.time() - saved > 90 or step + 1 == stage.steps):
            save_checkpoint(trainer, folder, index, step + 1)
            saved = time.time()
    return losses


def write_model(trainer: Trainer, folder: Path, seed: int, stages: tuple[parts.Stage, ...]) -> None:
    """Write weights.safetensors (float16) and config.json."""
    from safetensors.torch import save_file

    state = {name: value.half().contiguous() for name, value in trainer.master.state_dict().items()}
    save_atomically(lambda path: save_file(state, path), folder / "weights.safetensors")
    config = {**CONFIG, "training": {"seed": seed, "stages": [asdict(stage) for stage in stages]}}
    save_atomically(lambda path: path.write_text(json.dumps(config, indent=1) + "\n"), folder / "config.json")


def work(rank: int, folder: Path, seed: int, stages: tuple[parts.Stage, ...], meeting: str) -> None:
    """One worker: train through the stages; worker 0 writes."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=WORKERS)
    trainer = make_trainer(seed)
    at, step = load_checkpoint(trainer, folder)
    dist.barrier()
    for index in range(at, len(stages)):
        train_stage(trainer, stages, index, step if index == at else 0, seed, folder, rank)
        if rank == 0:
            write_model(trainer, folder, seed, stages)
    dist.destroy_process_group()


def train(folder: Path, seed: int = 0, stages: tuple[parts.Stage, ...] = STAGES) -> None:
    """Train through the stages and write the model to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.update(OMP_NUM_THREADS="1", MALLOC_MMAP_MAX_="0", MALLOC_TRIM_THRESHOLD_=str(2**34))
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    with tempfile.TemporaryDirectory() as meeting:
        mp.spawn(work, (folder, seed, stages, f"{meeting}/store"), nprocs=WORKERS)


def main(argv: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description="Train the embedded model on procedural scenes.")
    parser.add_argument("--out", type=Path, required=True, help="folder for weights.safetensors, config.json, checkpoint.pt")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="a smoke run of seconds")
    args = parser.parse_args(argv)
    train(args.out, args.seed, QUICK if args.quick else STAGES)
    return 0


if __name__ == "__main__":
    sys.exit(main())
