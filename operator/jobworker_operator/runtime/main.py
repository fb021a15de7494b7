"""The command line of the operator.

Every setting is a flag, and an environment variable: --http-port of `run` is JOBWORKER_OPERATOR_RUN_HTTP_PORT.
"""

from __future__ import annotations

import asyncio
import socket
import sys

import click

from jobworker_operator.kube.access import NoAccess
from jobworker_operator.runtime.logs import LogFormat, configure_logging
from jobworker_operator.runtime.operator import serve
from jobworker_operator.runtime.settings import Settings


@click.group(context_settings={"auto_envvar_prefix": "JOBWORKER_OPERATOR", "show_default": True})
@click.version_option(package_name="jobworker-operator")
def main() -> None:
    """Runs job workers on Kubernetes and never kills a busy one."""


@main.command()
@click.option("--namespace", "namespaces", multiple=True, metavar="NS", help="Serve this namespace; may be repeated.")
@click.option("--all-namespaces", is_flag=True, help="Serve all namespaces.")
@click.option("--log-format", type=click.Choice(["text", "json"]), default="text", help="One event a line either way.")
@click.option("--http-port", type=click.IntRange(0, 65535), default=8080, help="For /livez, /readyz and /metrics.")
@click.option("--workers", type=click.IntRange(1, 256), default=16, help="JobWorkers reconciled at the same time.")
@click.option("--resync-seconds", type=click.FloatRange(1), default=300.0, help="Look at each one this often at least.")
@click.option("--verbose", is_flag=True, help="Log every decision.")
def run(
    namespaces: tuple[str, ...],
    log_format: LogFormat,
    http_port: int,
    workers: int,
    resync_seconds: float,
    *,
    all_namespaces: bool,
    verbose: bool,
) -> None:
    """Serve JobWorkers until SIGTERM.

    KUBECONFIG names the cluster; without it the pod's service account does.
    """
    if bool(namespaces) == all_namespaces:
        raise click.UsageError("say --all-namespaces, or --namespace for each namespace to serve")
    configure_logging(log_format, verbose=verbose)
    settings = Settings(
        namespaces=tuple(dict.fromkeys(namespaces)),
        log_format=log_format,
        http_port=http_port,
        verbose=verbose,
        workers=workers,
        resync_seconds=resync_seconds,
        instance=socket.gethostname(),
    )
    try:
        sys.exit(asyncio.run(serve(settings)))
    except NoAccess as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
