"""A web page of somebody else's in the browser of a lab's owner, which tries every port of the lab.

Each function gives what was not refused, or could be read. A request is refused when nothing is
answered, or by 400, 401 or 403.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from playwright.sync_api import Page, Response

REFUSED = (400, 401, 403)
Request = tuple[str, str]
"""Method and path."""

_SEND = """async ([bases, requests, modes, headers]) => {
    const read = [];
    const send = async (base, method, path, mode) => {
        // without the other site's consent a browser sends these three methods alone
        const simple = ["GET", "HEAD"].includes(method) ? method : "POST";
        const sent = mode === "no-cors" ? simple : method;
        try {
            const answer = await fetch(base + path, {
                method: sent, mode,
                // a page's own site may ask for a password, and the request waits for the answer
                credentials: mode === "same-origin" ? "omit" : "include",
                body: ["GET", "HEAD"].includes(sent) ? undefined : "{}",
                headers: { "Content-Type": "text/plain", ...headers },
            });
            if (answer.type !== "opaque") read.push([sent, base + path, answer.status]);
        } catch (error) {}
    };
    const open = (base) => new Promise((done) => {
        const socket = new WebSocket(base.replace("http", "ws"));
        socket.onopen = () => { read.push(["websocket", base, 101]); done(); };
        socket.onerror = socket.onclose = done;
    });
    await Promise.all(bases.flatMap((base) => [
        open(base),
        ...requests.flatMap(([method, path]) => modes.map((m) => send(base, method, path, m))),
    ]));
    return read;
}"""
_SUBMIT = """async ([bases, path]) => {
    await Promise.all(bases.map((base, number) => new Promise((done) => {
        const frame = document.createElement("iframe");
        frame.name = `answer-${number}`;
        document.body.append(frame);
        const form = document.createElement("form");
        Object.assign(form, {
            method: "POST", enctype: "text/plain", action: base + path, target: frame.name,
        });
        form.innerHTML = `<input name='{"links": [], "more": "' value='"}'>`;  // is sent as JSON
        document.body.append(form);
        frame.onload = () => { frame.remove(); form.remove(); done(); };
        form.submit();
    })));
}"""
_FRAME = """(url) => new Promise((done) => {
    const frame = document.createElement("iframe");
    frame.onload = () => done(frame);
    frame.src = url;
    document.body.append(frame);
})"""


def from_another_site(
    page: Page, bases: Sequence[str], requests: Sequence[Request], *, logged_in: bool = False
) -> list[str]:
    """Send requests by `fetch`, with and without CORS, one by a form, and one for a WebSocket.

    Args:
        page: one of another site.
        bases: scheme, host and port of each server.
        logged_in: the browser knows a password of the server's; then GET may be answered.
    """
    orders = [path for method, path in requests if method == "POST"]
    with _answers(page) as answers:
        read = page.evaluate(_SEND, [bases, requests, ["no-cors", "cors"], {}])
        page.evaluate(_SUBMIT, [bases, orders[0]])
    found = [f"{method} {url} was read: {status}" for method, url, status in read]
    for answer in answers:
        shared = [name for name in answer.headers if name.startswith("access-control")]
        allowed = answer.status in REFUSED or (logged_in and answer.request.method == "GET")
        if shared or not allowed:
            found.append(f"{answer.request.method} {answer.url}: {answer.status} {shared}")
    return found


def under_a_rebound_name(
    page: Page, bases: Sequence[str], requests: Sequence[Request], headers: dict[str, str]
) -> list[str]:
    """Send requests from pages of the same name and port, whose name was rebound meanwhile.

    To the browser they go to the page's own site, so it reads every answer and may send any header.
    """
    # what the site says before its name is rebound
    page.route("**/*", lambda route: route.fulfill(body="", content_type="text/html"))
    frames = [page.evaluate_handle(_FRAME, base).as_element().content_frame() for base in bases]
    page.unroute_all()
    for frame, base in zip(frames, bases, strict=True):  # all of them at once
        frame.evaluate(
            f"(what) => {{ window.read = ({_SEND})(what); }}",
            [[base], requests, ["same-origin"], headers],
        )
    read = [one for frame in frames for one in frame.evaluate("window.read")]
    return [f"{method} {url}: {status}" for method, url, status in read if status not in REFUSED]


@contextmanager
def _answers(page: Page) -> Iterator[list[Response]]:
    """Collect all that a page is answered, also what it may not read itself."""
    answers: list[Response] = []

    def note(answer: Response) -> None:
        answers.append(answer)

    page.on("response", note)
    yield answers
    page.remove_listener("response", note)
