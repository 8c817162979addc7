"""``myotome study``: the analyses that papers are made of."""

from __future__ import annotations

import typer

from myotome.cli.study_agreement import agreement
from myotome.cli.study_fat_fraction import fat_fraction
from myotome.cli.study_goutallier import goutallier
from myotome.cli.study_l3_transfer import l3_transfer
from myotome.cli.study_lumbar_disc import lumbar_disc
from myotome.cli.study_pft import pft_correlation, pft_coverage, pft_phantoms
from myotome.cli.study_qct_agreement import qct_agreement

__all__ = ["study"]

study = typer.Typer(
    help="Statistics over many cases, each with tables, figures and a report that one command makes again.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
study.command()(pft_correlation)
study.command()(agreement)
study.command()(fat_fraction)
study.command()(goutallier)
study.command()(l3_transfer)
study.command()(qct_agreement)
study.command()(lumbar_disc)
study.command()(pft_phantoms)
study.command()(pft_coverage)
