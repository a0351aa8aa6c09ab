"""``netwright serve``."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option("--root", type=click.Path(path_type=Path, file_okay=False), default="runs", show_default=True,
              help="Folder of the runs; made if it is not there.")  # fmt: skip
@click.option("--host", default="127.0.0.1", show_default=True, help="Other than loopback needs a token.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes a free one.")
@click.option("--jobs", type=click.IntRange(1, 64), default=1, show_default=True, help="Searches side by side.")
@click.option("--token-file", type=click.Path(path_type=Path, dir_okay=False),
              help="Holds the token; else $NETWRIGHT_TOKEN, else one is made and printed.")  # fmt: skip
@click.option("--public-name", multiple=True, help="Name by which clients call the server. Repeatable; any by default.")
@click.option("--allow-custom-code", is_flag=True, help="Let requests name code, commands, files and other servers.")
@click.option("--requests", type=click.FloatRange(0), default=200.0, show_default=True,
              help="Of one client in a second, at most; 0 for no limit.")  # fmt: skip
def serve(  # noqa: PLR0913 - the options
    root: Path,
    host: str,
    port: int,
    jobs: int,
    token_file: Path | None,
    public_name: tuple[str, ...],
    allow_custom_code: bool,
    requests: float,
) -> None:
    """Serve searches over HTTP, with a page: launch, watch, pause, ask, download.

    Jobs are processes of their own: they go on when the server ends, and it finds them again when it starts. The API
    is described at /api/openapi.json.
    """
    from nas.service.serving import Serving, serve_until_stopped
    from nas.service.settings import LOOPBACK

    serving = Serving(root, host, port, jobs, token_file, allow_custom_code, requests)
    hosts = public_name or (LOOPBACK if host in LOOPBACK else ())
    serve_until_stopped(serving, hosts, lambda line: click.echo(line, err=True))
