"""``myotome analyze``: from a scan to measurements."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from myotome.cli.options import Average, HeightM, L3Label, SexOption, Slice, Vertebrae, choose_level
from myotome.cli.progress import show_progress
from myotome.cli.tables import print_result

__all__ = ["Device", "EngineName", "Precision", "analyze"]


class Device(StrEnum):
    """Where the network runs; ``auto`` takes a GPU when there is one."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class EngineName(StrEnum):
    """How the networks are computed; ``auto`` takes the fastest that can run here."""

    auto = "auto"
    eager = "eager"
    inductor = "inductor"
    openvino = "openvino"
    onnxruntime = "onnxruntime"
    tensorrt = "tensorrt"
    cuda_graphs = "cuda_graphs"


class Precision(StrEnum):
    """Arithmetic of the networks."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


def analyze(
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="DICOM folder, zip of one, or NIfTI file.")],
    bundle: Annotated[str, typer.Option("--bundle", "-b", help="Name of a shipped bundle, or a bundle's folder.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results; must not exist.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier result.")] = False,
    series_uid: Annotated[
        str | None, typer.Option("--series-uid", help="DICOM series to take when there are several.")
    ] = None,
    device: Annotated[Device, typer.Option("--device", help="Where the network runs.")] = Device.auto,
    engine: Annotated[
        EngineName, typer.Option("--engine", help="How the networks are computed; eager is the reference.")
    ] = EngineName.auto,
    precision: Annotated[
        Precision, typer.Option("--precision", help="bfloat16 and float16 are faster where the hardware has them.")
    ] = Precision.float32,
    height_m: HeightM = None,
    sex: SexOption = None,
    slice_index: Slice = None,
    vertebrae: Vertebrae = None,
    l3_label: L3Label = None,
    average: Average = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the measurements as JSON, and nothing else.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
) -> None:
    """Segment a scan by a bundle and measure what it finds: muscles, the supraspinatus, lumbar discs.

    The bundle decides what is read and measured; `myotome info` lists those that are here. A bundle with a classifier
    also grades, and its report shows what the grade was made of.

    Leaves labels.nii.gz, segmentation.dcm, measurements.dcm, .csv and .json, overview.png and report.html in the
    output folder, all of them or none. From NIfTI, which has no patient to refer to, the two DICOM files are left out.

    --slice, --vertebrae, --l3-label and --average are for a bundle that measures the level of L3: it finds L3 by itself
    unless it is told.

    An engine is compared with PyTorch eager on a phantom the first time it is used, which takes some seconds.

    Example: myotome analyze chest_ct/ --bundle respiratory_muscle_ct_segmentation -o result

    Example: myotome analyze shoulder_mr/ --bundle supraspinatus_mri_classification -o result

    Example: myotome analyze abdomen_ct/ --bundle l3_muscle_ct_segmentation --average --height-m 1.72 -o result

    Example: myotome analyze spine_mr/ --bundle lumbar_disc_mri_segmentation -o result
    """
    from myotome.resources import bundle_root

    root = bundle_root(bundle)
    with show_progress(quiet) as advance:
        advance("starting", 0.0)
        from myotome.pipeline import AnalysisRequest, require_writable
        from myotome.pipeline import analyze as run

        level = choose_level(slice_index, vertebrae, l3_label, average)
        request = AnalysisRequest(source, output, overwrite, series_uid, height_m, sex, level)
        require_writable(output, overwrite)
        from myotome.inference import BundleSegmenter

        segmenter = BundleSegmenter(
            root,
            device=device.value,
            engine=engine.value,
            precision=precision.value,
            progress=lambda share: advance("segmenting", share),
        )
        result = run(request, segmenter, progress=advance)
    if as_json:
        print((output / "measurements.json").read_text(encoding="utf-8"), end="")
    elif not quiet:
        print_result(result, output)
