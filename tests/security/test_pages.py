"""The embedded lab against pages of other sites: docs/security.md, tried in Chromium."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from chromium import ATTACKER, NEEDED, attackers_site, victims_browser
from embedded_lab import ports_of, running
from foreign_page import from_another_site, under_a_rebound_name
from intruder import REQUESTS, SOME
from listening import documented
from playwright.sync_api import Browser, Page
from test_intruder import answering

from labkit.cluster.engines.postgresql.cluster import EmbeddedCluster
from labkit.cluster.engines.postgresql.config import REST_USER

pytestmark = [pytest.mark.cluster, pytest.mark.browser, NEEDED]

HTTP = {
    "NODE Patroni",
    "NODE Patroni through the WAN",
    "NODE Patroni from REGION",
    "lb:REGION statistics",
    "WAN control",
}
TLS = {
    "etcd REGION clients",
    "etcd REGION from REGION",
    "etcd REGION peers",
    "etcd REGION peers through the WAN",
}
SPEAK_NO_HTTP = {
    "NODE PostgreSQL",
    "NODE PostgreSQL through the WAN",
    "NODE PostgreSQL from REGION",
    "lb:REGION read-write",
    "lb:REGION read-only",
    "lb:REGION from REGION",
}
"""A browser can send to these, too: what they would make of it is nothing."""
EVERY_KIND = sorted(HTTP | TLS | SPEAK_NO_HTTP)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with victims_browser() as browser:
        yield browser


@pytest.fixture
def foreign(browser: Browser) -> Iterator[Page]:
    """A page of another site, and an owner who clicks warnings about certificates away."""
    context = browser.new_context(ignore_https_errors=True)
    page = context.new_page()
    with attackers_site() as port:
        page.goto(f"http://{ATTACKER}:{port}/")
        yield page
    context.close()


def bases(lab: EmbeddedCluster, kind: str, host: str = "127.0.0.1") -> list[str]:
    schemes = ("http", "https") if kind in TLS else ("http",)
    found = [f"{one}://{host}:{port}" for port in ports_of(lab, kind) for one in schemes]
    assert found
    return found


def requests(kind: str) -> list[tuple[str, str]]:
    """All of them where HTTP is spoken; elsewhere none is read, whatever it asks for."""
    return REQUESTS if kind in HTTP else SOME


def test_every_port_of_the_table_is_tried() -> None:
    ports = documented("The embedded lab") - {"run/REGION.sock", "@NUMBER of etcd"}
    assert {*EVERY_KIND} == ports


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_a_page_of_another_site_reads_and_changes_nothing(
    lab: EmbeddedCluster, foreign: Page, kind: str
) -> None:
    before = running(lab)
    assert from_another_site(foreign, bases(lab, kind), requests(kind)) == []
    assert running(lab) == before


@pytest.mark.long
@pytest.mark.parametrize("kind", EVERY_KIND)
def test_a_page_whose_name_was_rebound_reads_and_changes_nothing(
    lab: EmbeddedCluster, foreign: Page, kind: str
) -> None:
    before = running(lab)
    headers = {"X-Region": lab.topology.region_names[0], "Authorization": "Bearer wrong"}
    rebound = bases(lab, kind, ATTACKER)
    assert under_a_rebound_name(foreign, rebound, requests(kind), headers) == []
    assert running(lab) == before


def test_a_page_reads_and_changes_nothing_where_the_owner_has_looked_at_the_statistics(
    lab: EmbeddedCluster, foreign: Page
) -> None:
    """Nothing else lets a browser log in: Patroni's 401 does not ask for a password."""
    kind = "lb:REGION statistics"
    login = f"{REST_USER}:{lab.secrets.balancer_stats}"
    before = running(lab)
    for port in ports_of(lab, kind):  # from here on the browser sends the password by itself
        owners = foreign.context.new_page()
        answer = owners.goto(f"http://{login}@127.0.0.1:{port}/")
        assert answer
        assert answer.status == 200
        owners.close()
    assert from_another_site(foreign, bases(lab, kind), requests(kind), logged_in=True) == []
    assert running(lab) == before


@pytest.mark.long
def test_what_a_server_tells_and_does_for_every_page_is_found(foreign: Page) -> None:
    orders = [("GET", "/links"), ("POST", "/links"), ("DELETE", "/links")]
    with answering(200) as port:
        found = from_another_site(foreign, [f"http://127.0.0.1:{port}"], orders)
        # a POST by `fetch`, one instead of the DELETE, and one by a form
        assert sorted(one.split()[0] for one in found) == ["GET", "POST", "POST", "POST"]
        found = under_a_rebound_name(foreign, [f"http://{ATTACKER}:{port}"], orders, {})
        assert sorted(one.split()[0] for one in found) == ["DELETE", "GET", "POST"]
    with answering(401, ("Access-Control-Allow-Origin", "*")) as port:
        assert from_another_site(foreign, [f"http://127.0.0.1:{port}"], orders) != []
