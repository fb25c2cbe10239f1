"""Where the daemon may listen: plain HTTP on this machine only; TLS, which its own command line trusts."""

from __future__ import annotations

import datetime
import os
import subprocess
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kheish.client import Kheish
from kheish.client.aio import AsyncKheish
from kheish.daemon.listening import Serving
from kheish.errors import Invalid, Unreachable
from tests.support.daemon import CLI, Daemon, until


def certificate(folder: Path, *addresses: str) -> tuple[Path, Path]:
    """A self-signed one and its key, as PEM files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kheish.example")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("kheish.example"), *(x509.IPAddress(ip_address(one)) for one in addresses)]
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / "chain.pem", folder / "key.pem"
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    return public, private


async def test_https_is_served_and_trusted_by_the_local_client_and_by_ca_file_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    public, private = certificate(tmp_path, "127.0.0.1")
    options = ("--tls-cert", str(public), "--tls-key", str(private))
    with Daemon.fresh(tmp_path, options=options) as daemon:
        assert daemon.url.startswith("https://127.0.0.1:")
        assert daemon.cli("status").returncode == 0
        async with AsyncKheish(state_root=daemon.root) as client:
            assert (await client.status())["version"]

        elsewhere = Kheish(url=daemon.url, token=daemon.token)
        monkeypatch.delenv("KHEISH_CA_FILE", raising=False)
        with pytest.raises(Unreachable, match=r"(?i)certificate"):
            elsewhere.status()
        monkeypatch.setenv("KHEISH_CA_FILE", str(public))
        assert elsewhere.status()["version"]
        monkeypatch.setenv("KHEISH_CA_FILE", str(private))
        with pytest.raises(Invalid, match="KHEISH_CA_FILE"):
            elsewhere.status()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "192.168.1.1", "kheish.example"])
def test_plain_http_on_an_address_that_others_reach_is_refused(host: str, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="--behind-proxy"):
        Serving().check(host)
    Serving(behind_proxy=True).check(host)
    Serving(*certificate(tmp_path)).check(host)
    for loopback in ("127.0.0.1", "127.8.9.1", "::1", "localhost"):
        Serving().check(loopback)


def test_a_certificate_that_cannot_be_used_is_told_at_the_start(tmp_path: Path) -> None:
    daemon = Daemon.make(tmp_path)
    public, private = certificate(tmp_path)
    private.write_text("no key")
    told = daemon.cli("serve", "--bind", "127.0.0.1:0", "--tls-cert", str(public), "--tls-key", str(private))
    assert told.returncode == 2 and "key.pem cannot be used" in told.stderr
    told = daemon.cli("serve", "--bind", "127.0.0.1:0", "--tls-cert", str(public))
    assert told.returncode == 2 and "--tls-key" in told.stderr
    told = daemon.cli("serve", "--bind", "0.0.0.0:0")
    assert told.returncode == 2 and "Plain HTTP on 0.0.0.0 is refused" in told.stderr


def test_up_makes_a_state_root_where_there_is_none_and_serves_it(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    words = [*CLI, "up", str(tmp_path / "root"), "--bind", "127.0.0.1:0", "--workspace", str(tmp_path / "work")]
    browser, opened = tmp_path / "browser.sh", tmp_path / "opened"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {opened}\n')
    browser.chmod(0o755)
    environment = {**os.environ, "HOME": str(tmp_path), "BROWSER": str(browser)}
    for more in ([], ["--open"]):  # the second time it is there
        with subprocess.Popen([*words, *more], stdout=subprocess.PIPE, text=True, env=environment) as up:
            assert up.stdout is not None and up.stdout.readline().startswith("kheish ready http://127.0.0.1:")
            assert Kheish(state_root=tmp_path / "root").status()["status"] == "serving"
            if more:
                link = until(lambda: opened.exists() and opened.read_text(), what="the console is opened")
                assert httpx.get(str(link), trust_env=False).status_code == 200
            assert opened.exists() == bool(more)
            up.terminate()
            assert up.wait(20) == 0
