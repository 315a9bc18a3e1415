"""What a notebook keeps of widgets when somebody saves it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from labkit.testing import FakeCluster
from labkit.ui import saving
from labkit.ui.cluster_map import ClusterMap
from labkit.ui.saving import NOT_SAVED, PICTURE, WIDGET, drop_widgets
from labkit.ui.trading_desk import TradingDesk


def notebook(*bundles: dict[str, Any]) -> dict[str, Any]:
    outputs: list[dict[str, Any]] = [
        {"output_type": "display_data", "data": data} for data in bundles
    ]
    outputs.append({"output_type": "stream", "text": "pass\n"})
    return {"cells": [{"cell_type": "code", "outputs": outputs}, {"cell_type": "markdown"}]}


def kept(saved: dict[str, Any]) -> list[set[str]]:
    return [set(output["data"]) for output in saved["cells"][0]["outputs"] if "data" in output]


def saved_by_hand(content: dict[str, Any] | None, kind: str = "notebook") -> None:
    """As a Jupyter server does that has loaded the extension."""
    hooks: list[Any] = []
    manager = SimpleNamespace(register_pre_save_hook=hooks.append)
    kernels = SimpleNamespace(transport_encryption="disabled")
    saving._load_jupyter_server_extension(
        SimpleNamespace(contents_manager=manager, kernel_manager=kernels)
    )
    assert kernels.transport_encryption == "auto"
    (hook,) = hooks
    hook(model={"type": kind, "content": content}, path="x", contents_manager=manager)


def test_saving_by_hand_keeps_the_picture_that_stands_for_a_widget_and_other_widgets() -> None:
    content = notebook({WIDGET: {}, PICTURE: "<svg/>", "text/plain": "x"}, {WIDGET: {}})
    saved_by_hand(content)
    assert kept(content) == [{PICTURE, "text/plain"}, {WIDGET}]


@pytest.mark.parametrize(("content", "kind"), [(None, "notebook"), ("a,b", "file")])
def test_what_is_no_notebook_is_saved_as_it_is(content: Any, kind: str) -> None:
    saved_by_hand(content, kind)


def test_of_a_headless_run_no_widget_is_kept() -> None:
    content = notebook({WIDGET: {}, "text/plain": "x"}, {WIDGET: {}})
    drop_widgets(content, all_of_them=True)
    assert kept(content) == [{"text/plain"}, set()]


@pytest.mark.parametrize("widget", [TradingDesk, ClusterMap])
def test_a_picture_of_the_cluster_stands_for_the_desk_and_the_map(
    widget: type[TradingDesk | ClusterMap], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = FakeCluster()
    cluster.start()
    shown = widget(cluster)
    bundle = _bundle(shown)
    assert WIDGET in bundle
    assert "us-west-2" in bundle[PICTURE]
    assert "run its cell to have it live" in bundle["text/plain"]
    # a page of its own is not saved, and is not kept waiting
    monkeypatch.setenv(NOT_SAVED, "1")
    assert PICTURE not in _bundle(shown)
    shown.close()


def _bundle(widget: TradingDesk | ClusterMap) -> dict[str, Any]:
    shown: Any = widget._repr_mimebundle_()
    return dict(shown[0] if isinstance(shown, tuple) else shown)
