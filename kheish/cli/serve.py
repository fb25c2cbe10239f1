"""`kheish serve`: the daemon, in the foreground."""

from __future__ import annotations

from pathlib import Path

import click

from kheish.cli.options import Settings, command, pass_settings


@command()
@click.option("--bind", metavar="HOST:PORT", help="Where to listen (127.0.0.1:4000; port 0: a free one).")
@click.option("--workspace", metavar="DIR", type=click.Path(path_type=Path), help="Where tools act.")
@click.option("--allow-bypass", is_flag=True, help="Allow sessions in permission mode bypass.")
@click.option(
    "--tls-cert", metavar="FILE", type=click.Path(path_type=Path), help="Serve HTTPS: certificate chain, PEM."
)
@click.option("--tls-key", metavar="FILE", type=click.Path(path_type=Path), help="The certificate's private key, PEM.")
@click.option("--behind-proxy", is_flag=True, help="Allow plain HTTP on other addresses: a proxy ends TLS.")
@pass_settings
def serve(
    settings: Settings,
    bind: str | None,
    workspace: Path | None,
    allow_bypass: bool,
    tls_cert: Path | None,
    tls_key: Path | None,
    behind_proxy: bool,
) -> int:
    """Serve a state root in the foreground; prints one line when it is ready."""
    from kheish.daemon import serve as daemon
    from kheish.daemon.listening import Serving

    serving = Serving(tls_cert, tls_key, behind_proxy)
    return daemon.run(settings.root(), bind=bind, workspace=workspace, allow_bypass=allow_bypass, serving=serving)
