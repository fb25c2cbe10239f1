"""`kheish serve`: run the daemon in the foreground."""

from __future__ import annotations

from pathlib import Path

import click

from kheish.cli.options import Settings, command, pass_settings


@command()
@click.option("--bind", metavar="HOST:PORT", help="The address to listen on (127.0.0.1:4000; port 0: any free port).")
@click.option("--workspace", metavar="DIR", type=click.Path(path_type=Path), help="The default workspace.")
@click.option("--allow-bypass", is_flag=True, help="Permit sessions with permission mode bypass.")
@click.option(
    "--allow-unauthenticated", is_flag=True, help="Accept requests to connectors without verify, on loopback alone."
)
@click.option(
    "--tls-cert", metavar="FILE", type=click.Path(path_type=Path), help="Serve HTTPS: certificate chain, PEM."
)
@click.option("--tls-key", metavar="FILE", type=click.Path(path_type=Path), help="The certificate's private key, PEM.")
@click.option(
    "--behind-proxy", is_flag=True, help="Permit plain HTTP on other addresses, behind a proxy that terminates TLS."
)
@pass_settings
def serve(
    settings: Settings,
    bind: str | None,
    workspace: Path | None,
    allow_bypass: bool,
    allow_unauthenticated: bool,
    tls_cert: Path | None,
    tls_key: Path | None,
    behind_proxy: bool,
) -> int:
    """Run the daemon of a state root in the foreground; it prints one line when it is ready."""
    from kheish.daemon import serve as daemon
    from kheish.daemon.listening import Serving

    serving = Serving(tls_cert, tls_key, behind_proxy)
    return daemon.run(
        settings.root(),
        bind=bind,
        workspace=workspace,
        allow_bypass=allow_bypass,
        allow_unauthenticated=allow_unauthenticated,
        serving=serving,
    )
