"""Training the comparison's network on thorax phantoms for some seconds: the stock zoo recipe, or ours.

``stock`` is `spleen_ct_segmentation` 0.5.9 of MONAI's model zoo: `CacheDataset`, `RandCropByPosNegLabeld` (as many
crops with as without a label, four a volume), four workers that start anew each epoch, `SupervisedTrainer` with
mixed precision (float16), Novograd at 0.002 (a tenth after 5,000 steps), `set_determinism`, and in every step the loss
read and the training accuracy. It changes the crops in no way. ``stock-augmented`` is the same with the random flips,
quarter turns and shifts of intensity of `swin_unetr_btcv_segmentation` 0.5.6. Both with the comparison's spacing,
window and network. Left out, in their favour: the validation after every epoch, and TensorBoard.

``ours`` is `DeviceCrops` (turned, zoomed, mirrored, noisy crops made on the device from volumes that stay there),
bfloat16, AdamW at 0.002 that falls as a cosine over the time there is, and the memory layout that is faster.

All have the same people, first weights, crops per step, loss (that of the spleen bundle), and validation. The clock
runs from the first step on, without validation; reading and keeping the data is ``setup_s``, and so is, for ours,
trying the layouts.
"""

from __future__ import annotations

import argparse
import copy
import math
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np
import torch
from ignite.engine import Events
from ignite.metrics import Accuracy
from monai.data import CacheDataset, DataLoader
from monai.engines import SupervisedTrainer
from monai.handlers import LrScheduleHandler, StatsHandler, from_engine
from monai.inferers import sliding_window_inference
from monai.losses import DiceCELoss
from monai.optimizers import Novograd
from monai.transforms import (
    Activationsd,
    AsDiscreted,
    Compose,
    EnsureChannelFirstd,
    EnsureTyped,
    LoadImaged,
    Orientationd,
    RandCropByPosNegLabeld,
    RandFlipd,
    RandRotate90d,
    RandShiftIntensityd,
    ScaleIntensityRanged,
    Spacingd,
)
from monai.utils import set_determinism
from torch import Tensor, nn

from benchmarks.network import make_network
from benchmarks.people import People, make_people
from benchmarks.recipe import CLASSES, ROI, SPACING_MM, WINDOW_HU
from benchmarks.runner import print_line, thread_count, versions
from benchmarks.stopwatch import Stopwatch
from myotome.io import read_volume
from myotome.training import CropSampling, DeviceCrops, LabelledVolume
from myotome.training.stages import multiplies_bfloat16

KEYS = ("image", "label")
RECIPES = ("stock", "stock-augmented", "ours")
QUICK_ROI, QUICK_SPACING_MM = (32, 32, 32), 4.0
_WORKERS = 4
_CROPS_PER_VOLUME = 4
_LR, _WARM_UP_STEPS = 2e-3, 50
_LAST_LOSSES = 20

Row = dict[str, str]


class Course:
    """The clock of a training: steps and their times, and the validation, which it stops for.

    Parameters
    ----------
    seconds : how long to train
    moments : how often to validate, at even distances, the end included
    validate : gives what is kept of each moment
    """

    def __init__(self, seconds: float, moments: int, device: torch.device, validate: Callable[[], dict]) -> None:
        self.limit_s, self.device, self.validate = seconds, device, validate
        self.wanted = deque(seconds * (index + 1) / moments for index in range(moments))
        self.seconds, self.validation_s, self.steps, self.peak_bytes = 0.0, 0.0, 0, 0
        self.step_s: list[float] = []
        self.moments: list[dict] = []
        self.last_losses: deque[Any] = deque(maxlen=_LAST_LOSSES)

    def begin(self) -> None:
        """Start the clock: the set-up is done."""
        self.began = time.perf_counter()
        self._go_on()

    def lap(self, steps: int) -> bool:
        """Count steps that were just done, and validate when it is time; True when the time is over."""
        self._wait()
        now = time.perf_counter()
        self.seconds += now - self._since
        self.step_s.append((now - self._since) / steps)
        self.steps, self._since = self.steps + steps, now
        if self.seconds >= self.wanted[0]:
            while self.wanted and self.seconds >= self.wanted[0]:
                self.wanted.popleft()
            self._stop_and_validate(now)
        return not self.wanted

    def _stop_and_validate(self, begun: float) -> None:
        if self.device.type == "cuda":
            self.peak_bytes = max(self.peak_bytes, torch.cuda.max_memory_allocated())
        self.moments.append({"s": round(self.seconds, 2), "steps": self.steps, **self.validate()})
        print(self.moments[-1], file=sys.stderr, flush=True)
        self._go_on()
        self.validation_s += self._since - begun

    def _go_on(self) -> None:
        self._wait()
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        self._since = time.perf_counter()

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def make_loss() -> nn.Module:
    """That of the spleen bundle, for every recipe."""
    words = {"include_background": True, "to_onehot_y": True, "softmax": True, "squared_pred": True, "batch": True}
    return DiceCELoss(**words, smooth_nr=1e-5, smooth_dr=1e-5, lambda_dice=0.5, lambda_ce=0.5)


def _fixed_transforms(spacing_mm: float) -> list[Callable]:
    return [
        LoadImaged(KEYS),
        EnsureChannelFirstd(KEYS),
        Orientationd(KEYS, axcodes="RAS", labels=None),
        Spacingd(KEYS, pixdim=(spacing_mm,) * 3, mode=("bilinear", "nearest")),
        ScaleIntensityRanged("image", *WINDOW_HU, b_min=0.0, b_max=1.0, clip=True),
        EnsureTyped(KEYS),
    ]


def _random_transforms(roi: Sequence[int], samples: int, augmented: bool) -> list[Callable]:
    crop = RandCropByPosNegLabeld(
        KEYS, "label", roi, pos=1, neg=1, num_samples=samples, image_key="image", image_threshold=0
    )
    if not augmented:
        return [crop]
    flips = [RandFlipd(KEYS, prob=0.1, spatial_axis=[axis]) for axis in range(3)]
    return [crop, *flips, RandRotate90d(KEYS, prob=0.1, max_k=3), RandShiftIntensityd("image", offsets=0.1, prob=0.5)]


def train_stock(network: nn.Module, rows: list[Row], options: argparse.Namespace, course: Course) -> dict[str, Any]:
    """Train as the zoo does, until the course is over."""
    set_determinism(seed=123)
    samples = min(_CROPS_PER_VOLUME, options.batch)
    random = _random_transforms(options.roi, samples, options.recipe == "stock-augmented")
    transform = Compose([*_fixed_transforms(options.spacing_mm), *random])
    data = CacheDataset(rows, transform, cache_rate=1.0, num_workers=_WORKERS, progress=False)
    loader = DataLoader(data, batch_size=options.batch // samples, shuffle=True, num_workers=_WORKERS)
    optimizer = Novograd(network.parameters(), lr=_LR)
    read_loss = from_engine(["loss"], first=True)
    trainer = SupervisedTrainer(
        device=options.device,
        max_epochs=10**6,
        train_data_loader=loader,
        network=network,
        optimizer=optimizer,
        loss_function=make_loss(),
        postprocessing=Compose(
            [
                Activationsd("pred", softmax=True),
                AsDiscreted(["pred", "label"], argmax=[True, False], to_onehot=CLASSES),
            ]
        ),
        key_train_metric={"train_accuracy": Accuracy(output_transform=from_engine(["pred", "label"]))},
        train_handlers=[
            LrScheduleHandler(torch.optim.lr_scheduler.StepLR(optimizer, step_size=5000, gamma=0.1), print_lr=True),
            StatsHandler(tag_name="train_loss", output_transform=read_loss),
        ],
        amp=options.device.type == "cuda",
    )

    def tell(engine: SupervisedTrainer) -> None:
        course.last_losses.append(read_loss(engine.state.output))
        if course.lap(1):
            engine.terminate()

    trainer.add_event_handler(Events.ITERATION_COMPLETED, tell)
    course.begin()
    trainer.run()
    return {"precision": "float16, mixed" if trainer.amp else "float32", "optimiser": f"Novograd {_LR:g}"}


def _read_labelled(row: Row) -> LabelledVolume:
    image, label = (read_volume(row[key]) for key in KEYS)
    spacing = np.linalg.norm(image.grid.affine[:3, :3], axis=0)
    return LabelledVolume(image.array.astype(np.int16), label.array.astype(np.uint8), tuple(spacing))


def train_ours(network: nn.Module, rows: list[Row], options: argparse.Namespace, course: Course) -> dict[str, Any]:
    """Train on crops that are made on the device, until the course is over."""
    device, loss_function = options.device, make_loss()
    torch.backends.cudnn.benchmark = True
    with ThreadPoolExecutor(_WORKERS) as pool:
        volumes = list(pool.map(_read_labelled, rows))
    sampling = CropSampling(options.roi, options.spacing_mm, WINDOW_HU)
    crops = DeviceCrops(volumes, options.batch, sampling, seed=0, device=device)
    reduced = multiplies_bfloat16(device)

    def learn(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=reduced):
            logits = model(batch["image"])
        loss = loss_function(logits.float(), batch["label"])
        loss.backward()
        return loss.detach()

    layout = _find_layout(network, crops.draw(0), learn)
    network.to(memory_format=layout)
    model = torch.compile(network) if options.compile else network
    optimizer = torch.optim.AdamW(network.parameters(), lr=_LR, weight_decay=1e-4, fused=device.type == "cuda")
    # Waiting for a GPU to read the clock costs little every few steps, and much at each.
    every = 10 if device.type == "cuda" else 1
    course.begin()
    for number, batch in enumerate(crops):
        falling = 0.5 * (1 + math.cos(math.pi * min(1.0, course.seconds / course.limit_s)))
        optimizer.param_groups[0]["lr"] = _LR * falling * min(1.0, (number + 1) / _WARM_UP_STEPS)
        optimizer.zero_grad(set_to_none=True)
        course.last_losses.append(learn(model, batch))
        optimizer.step()
        if (number + 1) % every == 0 and course.lap(every):
            break
    facts = {"layout": str(layout).removeprefix("torch."), "compiled": options.compile}
    return {"precision": "bfloat16, mixed" if reduced else "float32", "optimiser": f"AdamW {_LR:g}, cosine", **facts}


def _find_layout(network: nn.Module, batch: dict[str, Tensor], learn: Callable) -> torch.memory_format:
    """The layout of the weights in which a copy of the network learns faster."""
    wait, counts = (torch.cuda.synchronize, (4, 6)) if batch["image"].is_cuda else (lambda: None, (1, 2))
    taken = {}
    for layout in (torch.contiguous_format, torch.channels_last_3d):
        trial = copy.deepcopy(network).to(memory_format=layout)
        for count in counts:  # the first round finds the convolutions' algorithms
            wait()
            begun = time.perf_counter()
            for _ in range(count):
                learn(trial, batch)
            wait()
            taken[layout] = (time.perf_counter() - begun) / count
    print({str(layout): round(seconds, 4) for layout, seconds in taken.items()}, file=sys.stderr, flush=True)
    return min(taken, key=taken.get)


class Validation:
    """Dice on whole held-out volumes, by sliding windows on the device.

    Dice of a class is 2 TP / (2 TP + FP + FN) of the voxels of all volumes together; ``mean`` is over the classes,
    ``pooled`` takes all foreground labels together.
    """

    def __init__(self, network: nn.Module, rows: list[Row], options: argparse.Namespace) -> None:
        read = Compose(_fixed_transforms(options.spacing_mm))
        with ThreadPoolExecutor(_WORKERS) as pool:
            cases = list(pool.map(read, rows))
        self.cases = [(case["image"].as_tensor(), case["label"].as_tensor().to(torch.uint8)) for case in cases]
        self.network, self.roi, self.device = network, options.roi, options.device

    @torch.no_grad()
    def __call__(self) -> dict[str, Any]:
        self.network.eval()
        table = np.zeros((CLASSES, CLASSES))
        for image, label in self.cases:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=multiplies_bfloat16(self.device)):
                shown = image[None].to(self.device)
                logits = sliding_window_inference(shown, self.roi, 4, self.network, overlap=0.25)
            pairs = label.to(self.device)[0].long() * CLASSES + logits[0].argmax(0)
            table += torch.bincount(pairs.flatten(), minlength=CLASSES**2).reshape(CLASSES, CLASSES).cpu().numpy()
        self.network.train()
        both, either = np.diag(table)[1:], (table.sum(0) + table.sum(1))[1:]
        dice = np.divide(2 * both, either, out=np.zeros_like(both), where=either > 0)
        return {
            "dice": [round(float(value), 4) for value in dice],
            "mean": round(float(dice.mean()), 4),
            "pooled": round(float(2 * both.sum() / max(either.sum(), 1)), 4),
        }


def save_weights(network: nn.Module, path: Path, half: bool) -> None:
    """Write the state dict, from the CPU, its floating-point numbers as float16 when asked."""
    state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    if half:
        state = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path)


def time_training(options: argparse.Namespace) -> dict[str, Any]:
    """Data, set-up, training and validation of one recipe; what was measured of them."""
    clock = Stopwatch()
    clock.start()
    with clock.stage("data"):
        people = make_people(options.data, People.few() if options.quick else People(), options.jobs)
    network = make_network().to(options.device).train()
    with clock.stage("open"):
        validation = Validation(network, people["held_out"], options)
    course = Course(options.seconds, options.moments, options.device, validation)
    begun = time.perf_counter()
    train = train_ours if options.recipe == "ours" else train_stock
    facts = train(network, people["training"], options, course)
    if options.save:
        save_weights(network, options.save, options.half)
    cuda = options.device.type == "cuda"
    clock.seconds |= {"setup": course.began - begun, "training": course.seconds, "validation": course.validation_s}
    return clock.stop() | {
        "recipe": options.recipe,
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "people": len(people["training"]),
        "held_out": len(people["held_out"]),
        "batch": options.batch,
        "setup_s": round(course.began - begun, 2),
        "training_s": round(course.seconds, 3),
        "steps_done": course.steps,
        "samples": course.steps * options.batch,
        "step_s": round(course.seconds / course.steps, 5),
        "median_step_s": round(median(course.step_s), 5),
        "samples_per_s": round(course.steps * options.batch / course.seconds, 2),
        "moments": course.moments,
        "loss": round(fmean(float(loss) for loss in course.last_losses), 4),
        "peak_gpu_gb": round(course.peak_bytes / 2**30, 2) if cuda else None,
        **facts,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", choices=RECIPES, required=True)
    parser.add_argument("--seconds", type=float, default=120.0, help="of training, without set-up and validation")
    parser.add_argument("--data", type=Path, required=True, help="folder of the phantoms, made where they are missing")
    parser.add_argument("--jobs", type=int, default=thread_count(), help="processes that make phantoms")
    parser.add_argument("--device", type=torch.device, default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, default=8, help="crops per step; for stock a multiple of four, or less")
    parser.add_argument("--side", type=int, help="of the crops, in voxels, where it is not that of the comparison")
    parser.add_argument("--moments", type=int, default=8, help="how often to validate")
    parser.add_argument("--compile", action="store_true", help="ours: torch.compile, whose time counts as training")
    parser.add_argument("--quick", action="store_true", help="few people and small coarse crops, to see that it works")
    parser.add_argument("--save", type=Path, help="state dict to write")
    parser.add_argument("--half", action="store_true", help="write it as float16")
    options = parser.parse_args()
    options.roi, options.spacing_mm = (QUICK_ROI, QUICK_SPACING_MM) if options.quick else (ROI, SPACING_MM)
    options.roi = (options.side,) * 3 if options.side else options.roi
    torch.set_num_threads(thread_count())
    with redirect_stdout(sys.stderr):
        line = time_training(options)
    libraries = ("torch", "monai", "pytorch-ignite", "numpy", "nibabel")
    print_line({**line, "threads": thread_count(), "versions": versions(libraries)})
