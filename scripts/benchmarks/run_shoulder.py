"""One Y-view slice of a shoulder MR, DICOM folder to all outputs, again and again in one process."""

from __future__ import annotations

import argparse
import shutil
import sys
from contextlib import redirect_stdout
from pathlib import Path

from benchmarks.runner import print_line, thread_count, versions
from benchmarks.stopwatch import Stopwatch
from myotome.inference import BundleSegmenter
from myotome.pipeline import AnalysisRequest, analyze
from myotome.resources import bundle_root

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", type=Path, required=True, help="DICOM folder")
    parser.add_argument("--output", type=Path, required=True, help="folder for the outputs")
    parser.add_argument("--slices", type=int, default=10, help="how often the slice is analysed")
    options = parser.parse_args()
    clock = Stopwatch()
    clock.start()
    with redirect_stdout(sys.stderr):
        with clock.stage("open"):
            segmenter = BundleSegmenter(bundle_root("supraspinatus_mri_classification"))
        for _ in range(options.slices):
            shutil.rmtree(options.output, ignore_errors=True)
            with clock.lap():
                analyze(AnalysisRequest(options.image, options.output), segmenter)
        line = clock.stop()
    print_line({**line, "threads": thread_count(), "versions": versions(("torch", "monai", "numpy", "matplotlib"))})
