"""The trading desk as a person uses it: real voila, a real cluster, real orders."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from axe_playwright_python.sync_playwright import Axe
from living import lives
from pages import TIMEOUT_S, Watched, kernels, page_server, served
from playwright.sync_api import Error as PageError
from playwright.sync_api import Locator, Page, expect
from ports import free_port

from labkit.assets import asset
from labkit.cluster.engines.postgresql.cluster import EmbeddedCluster
from labkit.cluster.status import settled
from labkit.lab import bring_up
from labkit.trading.catalogue import DEMO_ACCOUNT
from labkit.trading.orders import Order, Side, place_order

pytestmark = pytest.mark.cluster

PICTURES = Path(os.environ.get("LABKIT_TEST_PICTURES", "pictures"))
"""Where the screenshots go, to be looked at."""
DRAWN = "() => document.querySelectorAll('.lk-price-chart .points path').length > 0"
"""Judged by what is drawn: a counter goes on counting above a frozen picture."""


@pytest.fixture(scope="module")
def desk_url(lab: EmbeddedCluster) -> Iterator[str]:
    bring_up(lab)
    command = [str(Path(sys.executable).with_name("labkit")), "desk", "--no-browser"]
    env = {**os.environ, "LABKIT_HOME": str(lab.home)}
    with served([*command, f"--port={free_port()}"], env) as (url, process):
        yield url
        running = kernels(process.pid)
    # Ctrl-C ended them all
    assert not [kernel for kernel in running if lives(kernel)]


@pytest.fixture
def page(watched: Watched, desk_url: str) -> Page:
    expect.set_options(timeout=TIMEOUT_S * 1000)
    page = watched.page
    page.goto(desk_url, wait_until="commit")
    expect(page.locator(".lk-price")).not_to_have_text("—")
    return page


def sql(lab: EmbeddedCluster, statement: str, *arguments: object) -> list[tuple[object, ...]]:
    with psycopg.connect(lab.dsn(lab.leader().region), connect_timeout=10) as conn:
        return conn.execute(statement.encode(), arguments).fetchall()


def ended(page: Page) -> str:
    """Wait for an order's end; says which one it is."""
    states = ", ".join(f"[data-state={end}]" for end in ("acked", "refused", "unknown"))
    try:
        page.locator(f".lk-outcome:is({states})").wait_for()
    except PageError as error:
        raise AssertionError(page.locator(".lk-ticket").inner_text()) from error
    return str(page.locator(".lk-outcome").get_attribute("data-state"))


def outcome(page: Page, state: str) -> Locator:
    """What became of the order; another end than `state` fails with what the page says of it."""
    found = page.locator(".lk-outcome")
    assert ended(page) == state, found.inner_text()
    return found


def submit_until_placed(page: Page) -> None:
    """As a person does in an outage: asks again where the page does not know, else sends anew."""
    again, told = page.get_by_role("button", name="Ask again"), []
    while len(told) < 10:
        (again if again.is_visible() else page.locator(".lk-submit")).click()
        if ended(page) == "acked":
            return
        told.append(page.locator(".lk-outcome").inner_text())
    raise AssertionError(told)


def fill(page: Page, *, side: str = "Buy", shares: object = 10, symbol: str = "AAPL") -> None:
    page.get_by_label("Symbol").fill(symbol)
    page.get_by_label("Symbol").press("Tab")
    page.locator(".lk-ticket").get_by_text(side, exact=True).click()
    page.get_by_label("Shares").fill(str(shares))


def part(page: Page, name: str) -> Locator:
    return page.locator(f'.lk-map [data-name="{name}"]')


def test_the_desk_can_be_read_by_everybody_and_asks_nobody_else(
    page: Page, watched: Watched, lab: EmbeddedCluster
) -> None:
    page.wait_for_function(DRAWN)
    expect(part(page, str(lab.leader()))).to_have_attribute("data-word", "primary")
    PICTURES.mkdir(parents=True, exist_ok=True)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        for width in (1440, 1024):
            page.set_viewport_size({"width": width, "height": 900})
            page.wait_for_timeout(700)  # plotly follows the new width
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            page.screenshot(path=PICTURES / f"desk-{width}-{scheme}.png", full_page=True)
        found = Axe().run(page).response["violations"]
        serious = [
            (violation["id"], [node["html"][:200] for node in violation["nodes"]])
            for violation in found
            if violation["impact"] in ("serious", "critical")
        ]
        assert serious == []
    assert watched.left_the_machine() == []
    assert watched.errors == []


@pytest.mark.long
def test_none_of_twenty_loads_leaves_a_frozen_chart(watched: Watched, lab: EmbeddedCluster) -> None:
    bring_up(lab)
    notebook = asset("notebooks", "01_trading_desk.ipynb")
    env = {**os.environ, "LABKIT_HOME": str(lab.home)}
    with served(page_server(notebook, closed_s=2), env) as (url, _):
        for _load in range(20):
            page = watched.page.context.new_page()
            page.goto(url, wait_until="commit")
            page.wait_for_function(DRAWN, timeout=TIMEOUT_S * 1000)
            page.close()


def test_a_buy_and_a_sell_reach_the_database_and_move_the_price(
    page: Page, lab: EmbeddedCluster
) -> None:
    before = Decimal(str(sql(lab, "SELECT current_price FROM prices WHERE symbol = 'DIS'")[0][0]))
    for side, shares, unit in (("Buy", 7, before), ("Sell", 3, before + Decimal("0.10"))):
        fill(page, side=side, shares=shares, symbol="DIS")
        page.locator(".lk-submit", has_text=f"{side} {shares} DIS").click()
        told = outcome(page, "acked").inner_text()
        assert f"{side} {shares} DIS at {unit}" in told
        [(row_side, quantity, price)] = sql(
            lab,
            "SELECT order_type, total_qty, unit_price FROM orders WHERE account_nbr = %s"
            " ORDER BY order_nbr DESC LIMIT 1",
            DEMO_ACCOUNT,
        )
        assert (row_side, quantity, price) == (side.lower(), shares, unit)
        after = unit + Decimal("0.10") * (1 if side == "Buy" else -1)
        expect(page.locator(".lk-price")).to_have_text(f"{after}")
        expect(page.locator(".lk-watch button", has_text="DIS")).to_contain_text(f"{after}")


def test_a_double_click_and_a_double_enter_place_one_order(
    page: Page, lab: EmbeddedCluster
) -> None:
    count = "SELECT count(*) FROM orders WHERE account_nbr = %s"
    [(before,)] = sql(lab, count, DEMO_ACCOUNT)
    assert isinstance(before, int)
    fill(page, shares=1)
    page.locator(".lk-submit").dblclick()
    outcome(page, "acked")
    assert sql(lab, count, DEMO_ACCOUNT) == [(before + 1,)]
    fill(page, shares=2)
    page.evaluate("[1, 2].forEach(() => document.querySelector('.lk-slip').requestSubmit())")
    expect(outcome(page, "acked")).to_contain_text("Buy 2 AAPL")
    assert sql(lab, count, DEMO_ACCOUNT) == [(before + 2,)]


def test_the_price_that_another_client_moves_is_shown_from_every_region(
    page: Page, lab: EmbeddedCluster
) -> None:
    for index, region in enumerate(lab.topology.region_names):
        page.locator(".lk-where-name", has_text=region).click()
        expect(page.locator(".lk-here")).to_contain_text(region)
        order = Order.new("0001000001", "NFLX", Side.BUY, 1, region_index=index)
        with psycopg.connect(lab.dsn(region), autocommit=True, connect_timeout=10) as conn:
            moved = place_order(conn, order).unit_price + Decimal("0.10")
        expect(page.locator(".lk-watch button", has_text="NFLX")).to_contain_text(f"{moved}")


def test_an_order_goes_through_the_region_that_was_chosen(page: Page, lab: EmbeddedCluster) -> None:
    page.locator(".lk-where-name", has_text="eu-west-1").click()
    expect(page.locator(".lk-here")).to_contain_text("eu-west-1")
    fill(page, shares=1)
    page.locator(".lk-submit").click()
    expect(outcome(page, "acked")).to_contain_text("through eu-west-1")
    expect(page.locator(".lk-here .lk-where-line").nth(2)).not_to_contain_text("—")
    [(order_id,)] = sql(
        lab,
        "SELECT order_id FROM orders WHERE account_nbr = %s ORDER BY order_nbr DESC LIMIT 1",
        DEMO_ACCOUNT,
    )
    assert isinstance(order_id, UUID)
    assert str(order_id)[15:18] == "002"


def test_nodes_and_a_region_are_broken_and_healed_on_the_page_while_orders_flow(
    page: Page, watched: Watched, lab: EmbeddedCluster
) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.get_by_label("Orders a second").fill("20")
    page.locator(".lk-load-form button").click()
    expect(page.locator(".lk-load-form button")).to_have_text("Stop")
    acked = page.locator(".lk-card .lk-big b").nth(1)
    expect(acked).not_to_have_text("—")

    primary = lab.leader()
    part(page, primary.name).click()
    page.locator("[data-action=kill]").click()
    expect(part(page, primary.name)).to_have_attribute("data-word", "down")
    # another one takes over, on the map and for a person's order
    page.locator('.lk-node[data-word="primary"]').wait_for()
    fill(page, shares=1)
    submit_until_placed(page)
    page.set_viewport_size({"width": 1440, "height": 900})
    page.screenshot(path=PICTURES / "desk-node-loss.png", full_page=True)
    page.locator("[data-action=heal]").click()
    expect(page.locator(".lk-log li").first).to_contain_text("healed")
    expect(part(page, primary.name)).to_have_attribute("data-healthy", "true")

    part(page, "eu-west-1").click()
    page.locator("[data-action=kill]").click()
    page.get_by_role("button", name="No", exact=True).click()  # asked once, and refused
    expect(page.locator(".lk-region.lk-lost")).to_have_count(0)
    page.locator("[data-action=kill]").click()
    page.get_by_role("button", name="Yes, kill eu-west-1").click()
    expect(page.locator(".lk-region.lk-lost")).to_have_attribute("aria-label", "eu-west-1")
    expect(page.locator(".lk-log li").first).to_contain_text("took effect")
    page.get_by_role("button", name="Heal everything").click()
    expect(page.locator(".lk-log li").first).to_contain_text("healed")
    expect(page.locator(".lk-region.lk-lost")).to_have_count(0)

    page.locator(".lk-load-form button").click()
    expect(page.locator(".lk-load-form button")).to_have_text("Start")
    assert watched.errors == []
    assert settled(lab.status, timeout_s=60).missing == ()


def do(page: Page, action: str, yes: str = "") -> None:
    """Press what can be done to the part that is chosen, and wait for its receipt."""
    receipts = page.locator(".lk-log li")
    before = receipts.count()
    page.locator(f"[data-action={action}]").click()
    if yes:
        page.get_by_role("button", name=f"Yes, {yes}").click()
    expect(receipts).to_have_count(before + 1)
    state = "healed" if action == "heal" else "effect"
    expect(receipts.first).to_have_attribute("data-state", state)


def test_a_link_is_slowed_a_node_frozen_and_a_balancer_stopped_and_each_is_healed_alone(
    page: Page, watched: Watched, lab: EmbeddedCluster
) -> None:
    link, node, balancer = "us-west-2:us-east-1", "eu-west-1/3", "lb:us-east-1"
    calm = part(page, link).inner_text()
    part(page, link).click()
    page.get_by_label("ms slower each way").fill("150")
    do(page, "slow")
    expect(part(page, link)).to_have_text("366 ms (66)")
    assert {
        one.delay_ms for one in lab.status().links if "eu-west-1" not in (one.source, one.target)
    } == {183}
    for name, action, word in ((node, "pause", "paused"), (balancer, "stop", "down")):
        part(page, name).click()
        do(page, action)
        expect(part(page, name)).to_have_attribute("data-word", word)
    for name in (node, balancer):
        part(page, name).click()
        do(page, "heal")
        expect(part(page, name)).to_have_attribute("data-healthy", "true")
        expect(part(page, link)).to_have_text("366 ms (66)")  # which nobody healed
    part(page, link).click()
    do(page, "heal")
    expect(part(page, link)).to_have_text(calm)
    assert watched.errors == []
    assert settled(lab.status, timeout_s=60).missing == ()


def test_prices_nearby_are_told_to_be_old_in_a_region_that_is_cut_off(
    page: Page, lab: EmbeddedCluster
) -> None:
    led = lab.leader().region
    away = next(name for name in reversed(lab.topology.region_names) if name != led)
    page.locator(".lk-where-name", has_text=away).click()
    page.get_by_text("Nearby", exact=True).click()
    told, row = page.locator(".lk-where-quotes p"), page.locator(".lk-watch button", has_text="JPM")
    expect(told).to_have_text("the copy nearby is up to date")
    before = row.locator(".lk-watch-price .lk-num").first.inner_text()
    part(page, away).click()
    do(page, "partition", yes=f"cut off {away}")
    order = Order.new(
        "0001000001", "JPM", Side.BUY, 1, region_index=lab.topology.region_names.index(led)
    )
    with psycopg.connect(lab.dsn(led), autocommit=True, connect_timeout=30) as conn:
        moved = place_order(conn, order).unit_price + Decimal("0.10")
    expect(told).to_contain_text("behind")
    expect(row).to_contain_text(before)
    do(page, "heal")
    expect(told).to_have_text("the copy nearby is up to date")
    expect(row).to_contain_text(f"{moved}")
    page.get_by_text("Fresh", exact=True).click()


def test_a_second_page_cannot_start_a_load_beside_the_first(page: Page) -> None:
    other = page.context.new_page()
    other.goto(page.url, wait_until="commit")
    for each in (page, other):
        each.locator(".lk-load-form button", has_text="Start").click()
        if each is page:
            expect(page.locator(".lk-load-form button")).to_have_text("Stop")
    expect(other.locator(".lk-load-form")).to_contain_text("another page has a load on this lab")
    expect(other.locator(".lk-load-form button")).to_have_text("Start")
    page.locator(".lk-load-form button").click()
    expect(page.locator(".lk-load-form button")).to_have_text("Start")
    other.locator(".lk-load-form button").click()  # the first one's has ended
    expect(other.locator(".lk-load-form button")).to_have_text("Stop")
    other.locator(".lk-load-form button").click()
    expect(other.locator(".lk-load-form button")).to_have_text("Start")
    other.close()


def test_a_page_that_is_loaded_again_can_start_a_load_at_once(page: Page) -> None:
    switch = page.locator(".lk-load-form button")
    switch.click()
    expect(switch).to_have_text("Stop")
    page.reload(wait_until="commit")
    expect(page.locator(".lk-price")).not_to_have_text("—")
    switch.click()  # the load that was on has ended with the kernel of the page that was left
    expect(switch).to_have_text("Stop")
    switch.click()
    expect(switch).to_have_text("Start")
    page.locator(".lk-load-form input").fill("0")
    switch.click()
    expect(page.locator(".lk-load-form")).to_contain_text(
        "a rate of 0 is out of range: choose 1 to"
    )


def test_a_buy_that_is_too_dear_is_refused_until_money_is_added(
    page: Page, lab: EmbeddedCluster
) -> None:
    query = "SELECT quantity FROM positions WHERE account_nbr = %s AND symbol = 'MSFT'"
    held = sum(quantity for (quantity,) in sql(lab, query, DEMO_ACCOUNT))
    fill(page, shares=5000, symbol="MSFT")
    page.locator(".lk-submit").click()
    expect(outcome(page, "refused")).to_contain_text("add money")
    page.locator(".lk-deposit input").fill("3000000")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator(".lk-notices li").first).to_contain_text("3,000,000.00 added")
    page.locator(".lk-submit").click()
    expect(outcome(page, "acked")).to_contain_text("Buy 5,000 MSFT")
    row = page.locator(".lk-orders tbody tr", has_text="Buy 5,000 MSFT")
    expect(row).to_have_attribute("data-status", "processed")  # the back office was there
    expect(page.locator(".lk-notices li", has_text="is processed").first).to_be_visible()
    expect(page.locator(".lk-positions tbody tr", has_text="MSFT")).to_contain_text(
        f"{held + 5000:,}"
    )
    [(balance,)] = sql(
        lab, "SELECT balance::TEXT FROM accounts WHERE account_nbr = %s", DEMO_ACCOUNT
    )
    expect(page.locator(".lk-money")).to_have_text(f"{Decimal(str(balance)):,.2f}")
