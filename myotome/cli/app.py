"""The program ``myotome``: its options, its help, and how an error becomes a sentence and an exit code."""

from __future__ import annotations

import logging
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Annotated

import typer

from myotome import __version__
from myotome.cli.analyze import analyze
from myotome.cli.champion import champion
from myotome.cli.cohort import cohort
from myotome.cli.engines import engines
from myotome.cli.info import info
from myotome.cli.measure import measure
from myotome.cli.phantom import phantom
from myotome.cli.serve import serve
from myotome.cli.simulate_annotation import simulate_annotation
from myotome.cli.study import study
from myotome.errors import MyotomeError

__all__ = ["app", "main"]

_HELP = """
Measure muscle on CT and MRI: volumes, densities, fat and grades, by bundles that each know one part of the body.

A first try, from a phantom to its measurements:

    myotome phantom thorax -n 1 --seed 7 --recipe clinical --format dicom -o people

    myotome analyze people/case_000007/dicom --bundle respiratory_muscle_ct_segmentation -o result

The same for a shoulder:

    myotome phantom shoulder -n 1 --seed 7 --format dicom -o shoulders

    myotome analyze shoulders/case_000007/dicom --bundle supraspinatus_mri_classification -o graded

Many of them:

    myotome cohort run people/ --bundle respiratory_muscle_ct_segmentation -o cohort

Research use only: not a medical device.
"""

_EPILOG = """
Exit codes: 0 done · 2 wrong usage · 3 input refused · 4 bundle or weights missing or not belonging together ·
5 output cannot be written · 6 some cases of a cohort failed · 1 an unexpected error.
"""

app = typer.Typer(
    help=_HELP,
    epilog=_EPILOG,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(analyze)
app.command()(measure)
app.add_typer(phantom, name="phantom")
app.add_typer(cohort, name="cohort")
app.add_typer(study, name="study")
app.command()(serve)
app.command()(champion)
app.command()(simulate_annotation)
app.command()(engines)
app.command()(info)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"myotome {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error, too.")] = False,
) -> None:
    """Options of the program itself; ``main`` reads ``--debug``, wherever it stands."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program and exit: every error a user can cause is one sentence on stderr and an exit code.

    Parameters
    ----------
    arguments : the words after ``myotome``; those of the process when ``None``
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    if not debug:
        _silence_libraries()
    try:
        app(args=[word for word in words if word != "--debug"], prog_name="myotome")
    except MyotomeError as error:
        sys.exit(_explain(str(error), error.exit_code, debug))
    except ModuleNotFoundError as error:
        sentence = f"this needs the package '{error.name}', which is not installed: pip install 'myotome[cohort]'."
        sys.exit(_explain(sentence, 1, debug))
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        sentence = f"an unexpected error, please report it with the output of --debug ({reason})."
        sys.exit(_explain(sentence, 1, debug))


def _silence_libraries() -> None:
    """Keep warnings that a user can do nothing about off the terminal; ``--debug`` shows them."""
    warnings.simplefilter("ignore")
    logging.basicConfig(level=logging.ERROR)


def _explain(sentence: str, exit_code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    print(f"myotome: {sentence}", file=sys.stderr)
    return exit_code
