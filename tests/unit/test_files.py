"""Files are there whole under their names or not at all, and nobody else's is replaced."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import labkit
from histories import failover_run

from labkit import files
from labkit.cluster.engines.cockroachdb.containers import render
from labkit.cluster.engines.cockroachdb.containers.layout import ComposeLayout
from labkit.cluster.engines.cockroachdb.containers.standalone import write
from labkit.errors import BadInput
from labkit.run.notebook import NOTEBOOK_FILE, UNFINISHED_FILE, finish_notebook
from labkit.topology import DEFAULT


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_file_that_cannot_be_written_to_its_end_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "events.jsonl"
    files.write_text(path, "old")
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_writer_that_is_killed_leaves_the_old_file(tmp_path):
    path = tmp_path / "samples.parquet"
    path.write_text("old")
    dies = (
        "import os, sys; from pathlib import Path; from labkit.files import replacing\n"
        "with replacing(Path(sys.argv[1])) as new:\n"
        "    new.write_text('half'); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", dies, path], check=False).returncode == -9
    assert path.read_text() == "old"


def test_a_link_is_replaced_and_what_it_leads_to_is_not_touched(tmp_path):
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "report.html").symlink_to("precious")
    files.write_text(tmp_path / "report.html", "new")
    assert (tmp_path / "precious").read_text() == "mine"
    assert (tmp_path / "report.html").read_text() == "new"


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_a_file_has_the_permissions_that_are_asked_for_whatever_the_umask_is(tmp_path, mode):
    before = os.umask(0o077)
    try:
        files.write_text(tmp_path / "x", "", mode)
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o777 == mode


def test_a_result_is_whole_or_not_there_when_the_disk_is_full(tmp_path, monkeypatch):
    result = failover_run()
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        result.save(tmp_path / "run")
    assert list((tmp_path / "run").iterdir()) == []


def test_a_notebook_that_was_cut_off_keeps_the_name_of_an_unfinished_one(tmp_path):
    unfinished, notebook = tmp_path / UNFINISHED_FILE, tmp_path / NOTEBOOK_FILE
    unfinished.write_text('{"cells": [{"cell_type": "co')
    finish_notebook(unfinished, notebook)
    assert list(tmp_path.iterdir()) == [unfinished]


# compose render


LAYOUT = ComposeLayout(DEFAULT, wan=True, secure=False)


def test_a_rendered_folder_is_rendered_anew(tmp_path):
    write(LAYOUT, tmp_path)
    write(ComposeLayout(DEFAULT, wan=False, secure=False), tmp_path)
    assert not (tmp_path / render.WAN_FILE).exists()


@pytest.mark.parametrize("name", [render.COMPOSE_FILE, render.WAN_FILE, "haproxy-us-west-2.cfg"])
@pytest.mark.parametrize("text", ["mine", "services: {}\n", "{}", "[1]", "# mine\nglobal\n"])
def test_render_refuses_to_replace_somebodys_file_and_writes_nothing(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(BadInput, match="did not write") as refused:
        write(LAYOUT, tmp_path)
    assert name in str(refused.value)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == text


def test_render_refuses_a_link_where_it_would_write(tmp_path):
    (tmp_path / "precious").write_text("mine")
    (tmp_path / render.COMPOSE_FILE).symlink_to("precious")
    with pytest.raises(BadInput, match="did not write"):
        write(LAYOUT, tmp_path)
    assert (tmp_path / "precious").read_text() == "mine"


def test_render_leaves_a_balancers_configuration_that_is_not_its_own(tmp_path):
    write(LAYOUT, tmp_path)
    (tmp_path / "haproxy-mine.cfg").write_text("global\n")
    write(LAYOUT, tmp_path)
    assert (tmp_path / "haproxy-mine.cfg").read_text() == "global\n"


# compare --html


@pytest.fixture
def two_runs(tmp_path: Path) -> list[str]:
    names = [str(tmp_path / "runs" / name) for name in ("a", "b")]
    for name in names:
        failover_run().save(Path(name))
    return names


@pytest.mark.parametrize("kind", ["file", "link", "folder", "report"])
def test_compare_refuses_to_replace_somebodys_file(tmp_path, two_runs, kind):
    target = tmp_path / "page.html"
    if kind == "file":
        target.write_text("mine")
    elif kind == "link":
        (tmp_path / "precious").write_text("mine")
        target.symlink_to("precious")
    elif kind == "folder":
        target.mkdir()
    else:
        target.write_text("<!DOCTYPE html><title>Passed: node-loss</title>")  # of a run
    before = target.read_bytes() if kind != "folder" else b""
    done = labkit("compare", *two_runs, "--html", str(target))
    assert (done.exit_code, done.stdout) == (2, "")
    assert "is there already" in done.stderr
    assert kind == "folder" or target.read_bytes() == before


def test_compare_writes_its_own_page_anew(tmp_path, two_runs):
    target = tmp_path / "page.html"
    for _ in range(2):
        assert labkit("compare", *two_runs, "--html", str(target)).exit_code == 0
    assert target.read_text().startswith("<!DOCTYPE html>")
