"""`sparring serve`: a local web application for one model."""

import os
from pathlib import Path
from typing import Annotated

import typer

from sparring.experiments.console import RunFolder, Trust, err, line


def serve(
    run: RunFolder,
    host: Annotated[
        str, typer.Option(help="Address to listen on; any but that of this machine needs a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any free one.")] = 8642,
    reviews: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Database of the decisions, which several servers may share; by default "
            "`reviews.db` in the folder of the run.",
            show_default=False,
        ),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="SPARRING_TOKEN",
            help="What clients have to know. Made up and printed, if the address needs one.",
            show_default=False,
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Another name by which clients address the server; repeatable.",
            show_default=False,
        ),
    ] = None,
    rate: Annotated[
        float, typer.Option(min=0, help="Requests per second and client; 0 for no limit.")
    ] = 50.0,
    trust: Trust = False,
) -> None:
    """See what a model believes, and correct it, in a browser.

    Ask for answers with their probability and reasons, look at entities, compare samplers, and
    review facts that are probably missing. Decisions are kept in a database;
    `sparring fit GRAPH --reviewed FILE` learns from them. Nothing is fetched from a network.

    Example: `sparring serve runs/atlas`
    """
    import secrets
    import socket

    from sparring.experiments.run_folder import Run
    from sparring.experiments.serving import open_workspace
    from sparring.extras import optional

    uvicorn = optional("uvicorn", extra="serve", purpose="the web application")
    optional("fastapi", extra="serve", purpose="the web application")
    optional("jinja2", extra="serve", purpose="the web application")
    from sparring.serve.app import create_app
    from sparring.serve.safety import Access, is_loopback

    if not is_loopback(host) and not token:
        token = secrets.token_urlsafe(24)
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        raise OSError(
            f"cannot listen on {host} port {port}: {os.strerror(error.errno or 0)}; choose another "
            "--port, or 0 for any free one"
        ) from None
    workspace = open_workspace(
        Run(run, trust), reviews=reviews, say=lambda text: line(text, to=err)
    )
    names = ["127.0.0.1", "localhost", "::1", host.lower(), *(allow_host or [])]
    access = Access(hosts=names, token=token or "", rate=rate)
    workspace.start()
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(workspace, access),
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
        )
    )
    shown = f"[{host}]" if ":" in host else host
    line(f"open http://{shown}:{listening.getsockname()[1]}/ in a browser; Ctrl-C stops")
    if token:
        line(f"token: {token}")
    server.run(sockets=[listening])
