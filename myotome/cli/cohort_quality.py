"""``myotome cohort quality`` and ``myotome cohort serve``: looking at a cohort, and deciding about its cases."""

from __future__ import annotations

import json
import os
import threading
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from myotome.errors import InputError

__all__ = ["quality", "serve"]

_OPEN_AFTER_S = 1.0

Folder = Annotated[Path, typer.Argument(metavar="OUT", help="The cohort's folder.")]


def quality(
    folder: Folder,
    import_file: Annotated[
        Path | None, typer.Option("--import", help="Keep the decisions that the page opened from disk gave.")
    ] = None,
    reviewer: Annotated[
        str, typer.Option("--reviewer", help="Who decided, with --import; else the name given on the page.")
    ] = "",
    list_decision: Annotated[
        str | None, typer.Option("--list", help="Print the cases so decided: accept, exclude, annotate or undecided.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")] = False,
) -> None:
    """Write OUT/quality.html: a thumbnail per case, outlier scores, and a keyboard review.

    The page works from disk and keeps decisions in the browser, until its file is given to --import. Behind
    'myotome cohort serve' it keeps them in the cohort at once.

    Examples:

        myotome cohort quality cohort

        myotome cohort quality cohort --import decisions.json --reviewer "A. Reader"

        myotome cohort quality cohort --list annotate --json
    """
    from myotome.cohort.quality import import_decisions, list_decided, write_quality_page
    from myotome.store import Store

    if reviewer and import_file is None:
        raise InputError("--reviewer says who made the decisions of --import: give both.")
    store = Store(folder)
    if list_decision is not None:
        if import_file is not None:
            raise InputError("give --list or --import, not both.")
        cases = list_decided(store, list_decision)
        print(json.dumps(cases) if as_json else "\n".join(cases), end="\n" if cases or as_json else "")
        return
    answer: dict[str, object] = {}
    if import_file is not None:
        imported = import_decisions(store, import_file, reviewer)
        answer |= {"written": imported.written, "older": imported.older}
        store = Store(folder)
    answer["page"] = str(write_quality_page(store))
    if as_json:
        print(json.dumps(answer))
        return
    if import_file is not None:
        print(f"{answer['written']} decisions kept; {answer['older']} were here already, or older than the ones here.")
    print(answer["page"])


def serve(
    folder: Folder,
    host: Annotated[str, typer.Option("--host", help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", "-p", min=1, max=65535, help="Port to listen at.")] = 8010,
    token: Annotated[
        str, typer.Option("--token", envvar="MYOTOME_TOKEN", help="What lets readers in; one is made otherwise.")
    ] = "",
    allowed_host: Annotated[
        list[str] | None, typer.Option("--allowed-host", help="Another name the server is called by; repeatable.")
    ] = None,
    open_browser: Annotated[bool, typer.Option("--open", help="Open a browser, where there is a display.")] = False,
) -> None:
    """Serve the page of quality control; decisions are kept in the cohort as they are made.

    Only this machine can reach it unless --host says otherwise, and only with the token in the address that is
    printed. It shows pages and pictures of the cases, and nothing else of the folder. Stop with Ctrl-C.

    Example: myotome cohort serve cohort
    """
    from myotome.cohort.server import Serving, serve_reviews
    from myotome.store import Store

    store = Store(folder)
    options = {"token": token} if token else {}
    serving = Serving(host=host, port=port, hosts=frozenset(allowed_host or ()), **options)

    def welcome(address: str) -> None:
        print(f"Quality control of '{folder}':\n  {address}\nStop with Ctrl-C.", flush=True)
        if open_browser and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            threading.Timer(_OPEN_AFTER_S, webbrowser.open, [address]).start()

    serve_reviews(store, serving, welcome)
