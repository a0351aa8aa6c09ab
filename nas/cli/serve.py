"""``netwright serve``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from nas.cli.options import resources


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
@click.option("--address", help="Ray cluster of the searches: auto, or HOST:PORT of its head. This machine by default.")
@click.option("--worker-gpus", type=click.FloatRange(0), help="Of each worker there: a fraction of one, or a number.")
@click.option("--worker-resources", multiple=True, metavar="NAME=N", help="Custom ones of each worker. Repeatable.")
@click.option("--device-node", help="Node of the cluster that measures: id, host, IP or custom resource device:NAME.")
def serve(  # noqa: PLR0913 - the options
    root: Path,
    host: str,
    port: int,
    jobs: int,
    token_file: Path | None,
    public_name: tuple[str, ...],
    allow_custom_code: bool,
    requests: float,
    **engine: Any,
) -> None:
    """Serve searches over HTTP, with a page: launch, watch, pause, ask, download.

    Jobs are processes of their own: they go on when the server ends, and it finds them again when it starts. With
    --address their scores and trainings are spread over a Ray cluster, which this machine belongs to. The API is
    described at /api/openapi.json.
    """
    from nas.service.cluster import chosen_cluster
    from nas.service.serving import Serving, serve_until_stopped
    from nas.service.settings import LOOPBACK

    if not host.strip() or not all(name.strip() for name in public_name):
        raise click.UsageError("--host and --public-name need a name or an address")
    if math.isnan(requests):
        raise click.UsageError("--requests nan: expected a number; 0 for no limit")
    engine["worker_resources"] = resources(engine["worker_resources"])
    cluster = chosen_cluster(**engine)
    serving = Serving(root, host, port, jobs, token_file, allow_custom_code, requests, cluster)
    hosts = public_name or (LOOPBACK if host in LOOPBACK else ())
    serve_until_stopped(serving, hosts, lambda line: click.echo(line, err=True))
