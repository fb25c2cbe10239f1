"""The network guard: what it lets through, and what it does not, in every way to write it."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import Sequence
from ipaddress import ip_address

import pytest

from kheish.auth import netguard
from kheish.errors import AddressNotAllowed, FetchFailed, Invalid
from kheish.settings import check_reachable
from tests.support.site import Page, serve

LOOPBACK = ("127.0.0.1",)


def answering(*addresses: str) -> netguard.Resolver:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return addresses

    return resolve


@pytest.mark.found("S12")
@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.9.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
        "224.0.0.1", "255.255.255.255", "192.0.2.1", "::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::169.254.169.254", "2002:7f00:1::1",
        "2001:0:0:0:0:0:80ff:fffe", "168.63.129.16", "192.0.0.192", "192.0.0.9", "192.88.99.1", "198.18.0.1",
        "240.0.0.1", "fec0::1", "64:ff9b:1::1", "::ffff:0:10.0.0.1", "::ffff:0:a9fe:a9fe", "5f00::1", "3fff::1",
        "100::1", "4000::1", "2001:db8::1", "2606:2800::5efe:10.0.0.1", "2606:2800::200:5efe:7f00:1",
        "2002:a9fe:a9fe::1", "e000::1", "64:ff9b::a83f:8110", "100.100.100.200", "0.1.2.3",
    ],
)  # fmt: skip
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert netguard.refusal(ip_address(address)) is not None


@pytest.mark.parametrize(
    "address",
    ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "::ffff:8.8.8.8", "2002:808:808::1", "64:ff9b::808:808"],
)
def test_a_public_address_is_fine(address: str) -> None:
    assert netguard.refusal(ip_address(address)) is None


@pytest.mark.parametrize(
    "url",
    [
        "http://2130706433/", "http://0x7f000001/", "http://0x7f.1/", "http://0177.0.0.1/", "http://017700000001/",
        "http://127.1/", "http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://[0:0:0:0:0:ffff:7f00:1]/",
        "http://localhost/", "http://LOCALHOST./", "http://127.0.0.1.:80/", "http://①②⑦.0.0.1/",
    ],
)  # fmt: skip
async def test_this_machine_is_refused_in_every_form_of_its_address(url: str) -> None:
    with pytest.raises((AddressNotAllowed, FetchFailed)):  # a form that this system cannot read leads nowhere
        await netguard.check(url)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "ftp://example.com/", "gopher://example.com/", "http://", "http:///x", "//example.com",
        "http://user:secret@example.com/", "http://example.com@127.0.0.1/", "http://example.com\\@127.0.0.1/",
        "http://exa mple.com/", "http://example.com\t/", "http://[fe80::1%25eth0]/", "http://example.com:99999/",
    ],
)  # fmt: skip
async def test_a_url_that_can_be_read_in_two_ways_is_refused(url: str) -> None:
    with pytest.raises(Invalid):
        await netguard.check(url, resolve=answering("93.184.216.34"))


async def test_one_private_answer_among_public_ones_is_enough_to_refuse() -> None:
    with pytest.raises(AddressNotAllowed, match=r"10\.0\.0\.7"):
        await netguard.check("http://example.com/", resolve=answering("93.184.216.34", "10.0.0.7"))


async def test_what_is_allowed_is_allowed_by_host_or_network() -> None:
    inside = answering("10.0.0.7")
    target = await netguard.check("https://wiki.corp.example/x", allow=["*.corp.example"], resolve=inside)
    assert (target.host, target.port, target.address) == ("wiki.corp.example", 443, "10.0.0.7")
    assert (await netguard.check("http://a.example/", allow=["10.0.0.0/8"], resolve=inside)).address == "10.0.0.7"
    with pytest.raises(AddressNotAllowed, match=r"network\.allow"):
        await netguard.check("http://b.example/", allow=["*.corp.example", "10.1.0.0/16"], resolve=inside)


async def test_the_connection_goes_to_the_address_that_was_checked() -> None:
    """DNS rebinding: the name means something else the second time, and nobody asks a second time."""
    answers = iter([["127.0.0.1"]])

    async def resolve(host: str, port: int) -> Sequence[str]:
        return next(answers)

    with serve({"/": Page(b"here")}) as site:
        url = f"http://rebinding.example:{site.port}/"
        answer = await netguard.send("GET", url, allow=["rebinding.example"], resolve=resolve)
    assert answer.body == b"here"
    assert site.asked[0][1]["Host"] == f"rebinding.example:{site.port}"


async def test_a_redirect_is_checked_again() -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"] if host == "public.example" else ["169.254.169.254"]

    with serve({}) as site:
        site.pages["/"] = Page(status=302, headers={"Location": "http://metadata.example/latest"})
        with pytest.raises(AddressNotAllowed, match=r"metadata\.example"):
            url = f"http://public.example:{site.port}/"
            await netguard.send("GET", url, allow=["public.example"], resolve=resolve)


async def test_a_redirect_to_another_site_is_told_and_not_followed() -> None:
    with serve({}) as site, serve({"/": Page(b"other")}) as other:
        site.pages["/"] = Page(status=301, headers={"Location": "/b"})
        site.pages["/b"] = Page(status=307, headers={"Location": f"{other.url}/"})
        answer = await netguard.send("GET", f"{site.url}/", allow=LOOPBACK)
    assert answer.leads_to == f"{other.url}/"
    assert [path for path, _ in site.asked] == ["/", "/b"]
    assert not other.asked


@pytest.mark.parametrize("location", ["http://nowhere.invalid/", "http://[bad", "http://a:99999/", "file:///x"])
async def test_a_redirect_to_no_address_is_no_fault_of_the_request(location: str) -> None:
    """`NotConnected` would say that nothing was sent, so that a delivery would be sent twice."""
    with serve({"/": Page(status=302, headers={"Location": location})}) as site:
        with pytest.raises(FetchFailed, match="redirects to an address that cannot be used") as error:
            await netguard.send("GET", f"{site.url}/", allow=LOOPBACK)
        assert type(error.value) is FetchFailed
        answer = await netguard.send("POST", f"{site.url}/", allow=LOOPBACK, content=b"x")
    assert (answer.status, answer.leads_to) == (302, location)


async def test_odd_characters_of_a_redirect_are_quoted() -> None:
    with serve({"/": Page(status=302, headers={"Location": "/a b\x1b"}), "/a%20b%1B": Page(b"there")}) as site:
        assert (await netguard.send("GET", f"{site.url}/", allow=LOOPBACK)).body == b"there"


async def test_a_compressed_answer_is_whole_or_fails() -> None:
    whole = gzip.compress(b"a" * 1000) + gzip.compress(b"b")  # two members, as `cat` joins them
    headers = {"Content-Encoding": "gzip"}
    with serve({"/": Page(whole, headers=headers), "/cut": Page(whole[:-1], headers=headers)}) as site:
        answer = await netguard.send("GET", f"{site.url}/", allow=LOOPBACK)
        assert (answer.body, answer.is_cut) == (b"a" * 1000 + b"b", False)
        with pytest.raises(FetchFailed, match="ends too early"):
            await netguard.send("GET", f"{site.url}/cut", allow=LOOPBACK)


async def test_redirects_in_a_circle_end() -> None:
    with serve({"/": Page(status=302, headers={"Location": "/"})}) as site:
        with pytest.raises(FetchFailed, match="more than 5 times"):
            await netguard.send("GET", f"{site.url}/", allow=LOOPBACK)
        assert len(site.asked) == 5


async def test_a_small_answer_that_unpacks_to_a_large_one_is_cut() -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    with serve({"/": Page(bomb, headers={"Content-Encoding": "gzip"})}) as site:
        answer = await netguard.send("GET", f"{site.url}/", allow=LOOPBACK, limit=1000)
    assert (len(answer.body), answer.is_cut) == (1000, True)


async def test_a_coding_that_was_not_asked_for_is_refused() -> None:
    page = Page(b"x", headers={"Content-Encoding": "br"})
    with serve({"/": page}) as site, pytest.raises(FetchFailed, match="br"):
        await netguard.send("GET", f"{site.url}/", allow=LOOPBACK)


async def test_a_server_that_says_nothing_is_left_after_the_timeout() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(FetchFailed, match=r"0\.2 s"):
            await netguard.send("GET", url, allow=LOOPBACK, timeout=0.2)


@pytest.mark.found("S12")
def test_the_machines_own_public_addresses_are_refused() -> None:
    script = (
        "set -e; ip link set lo up; ip addr add 9.9.9.8/32 dev lo; ip -6 addr add 2620:fe::8/128 dev lo nodad; "
        f"exec {sys.executable} -c 'import sys; from ipaddress import ip_address; from kheish.auth import netguard; "
        "print([netguard.refusal(ip_address(one)) for one in sys.argv[1:]])' "
        "9.9.9.8 2620:fe::8 ::ffff:9.9.9.8 9.9.9.9"
    )
    told = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--net", "sh", "-c", script], capture_output=True, text=True
    )
    if told.returncode or "own" not in told.stdout:
        pytest.skip(f"no network namespace here: {told.stderr}")
    own = "this machine's own"
    assert told.stdout.strip() == str([own, own, own, None])


def test_entries_that_could_never_match_are_refused() -> None:
    for entry in ("127.0.0.1", "::1", "[::1]", "10.0.0.0/8", "fd00::/8", "db.local", "*.corp.example", "*", "my_host"):
        assert check_reachable(entry) == entry
    for entry, said in (
        ("127.0.0.1:4699", "write 127.0.0.1:"), ("[::1]:80", r"write \[::1\]:"), ("db.local:5432", "write db.local:"),
        ("http://foo/", "write foo,"), ("***", "no host"), ("10.0.0.0/99", "no host"), ("a b", "no host"),
        ("", "no host"), ("host.", "no host"), ("300.1.1.1", "no host"), ("bücher.example", "no host"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=said):
            check_reachable(entry)
