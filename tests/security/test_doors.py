"""Who gets into the embedded lab: docs/security.md, held against a lab that runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from embedded_lab import ports_of, running
from intruder import REQUESTS, SOME, TLS
from listening import documented, marked, sockets
from secret_texts import secret_texts

from labkit.cluster.engines.postgresql.certificate import Certificate
from labkit.cluster.engines.postgresql.cluster import EmbeddedCluster
from labkit.cluster.engines.postgresql.config import REST_USER
from labkit.cluster.engines.postgresql.layout import member_name

pytestmark = pytest.mark.cluster

INTRUDER = Path(__file__).with_name("intruder.py")
STRANGER = 61234
"""A user that owns nothing: neither the lab's, nor the one its servers run as."""
AS_ROOT = os.geteuid() == 0


def processes_of(lab: EmbeddedCluster) -> set[int]:
    """Every process that carries the lab's mark, and those that are known without it."""
    return {*lab.pids(), *marked(lab.settings.lab_id)}


def test_every_socket_of_every_process_is_in_the_table(lab):
    purposes = dict(lab.layout.parts())
    found = sockets(processes_of(lab), purposes, lab.topology)
    assert found == documented("The embedded lab")


@pytest.fixture(scope="module")
def found(lab, tmp_path_factory) -> dict[str, list[str]]:
    """What an intruder got into. All of it is tried at once, as it takes a while."""
    folder, foreign = tmp_path_factory.mktemp("foreign"), Certificate.make()
    certificate = [folder / "crt", folder / "key"]
    certificate[0].write_text(foreign.certificate)
    certificate[1].write_text(foreign.key)
    places = {lab.home, lab.layout.place}
    every = [*TLS, "http"]
    wrong = ["", "Basic bGFia2l0Ondyb25n", "Basic bGFia2l0Og==", "Bearer wrong", "Bearer "]
    few = {"requests": SOME, "schemes": every, "credentials": [""]}
    near = ports_of(lab, "NODE PostgreSQL|lb:REGION read-(write|only)")
    far = ports_of(lab, "NODE PostgreSQL .*|lb:REGION from REGION")
    way = {"application_name": member_name(lab.topology.nodes[0])}
    passwords = [{}, *({"password": one} for one in ("wrong", "postgres", lab.settings.lab_id))]
    what = {
        "http": {
            "tries": [
                {
                    "ports": ports_of(lab, "NODE Patroni|WAN control|lb:REGION statistics"),
                    "requests": REQUESTS,
                    "schemes": ["http"],
                    "credentials": wrong,
                },
                {
                    "ports": ports_of(lab, "etcd REGION (clients|peers)"),
                    "requests": REQUESTS,
                    "schemes": every,
                    "credentials": [""],
                },
                {"ports": [port for port, _ in lab.layout.parts()], **few},
            ],
            "region": lab.topology.region_names[0],
            "certificate": [str(path) for path in certificate],
        },
        "sql": [
            {
                "ports": near[:1],
                "users": ["postgres", "replicator", "trader", "nobody"],
                "databases": ["trade_db", "postgres"],
                "ways": [
                    {**way, **kind, **password}
                    for kind in ({}, {"replication": "true"})
                    for password in passwords
                ],
            },
            {
                "ports": [*near[1:], *far],
                "users": ["postgres", "replicator"],
                "databases": ["postgres"],
                "ways": [way, {**way, "replication": "true", "password": "wrong"}],
            },
        ],
        "files": {
            "paths": [str(path) for place in places for path in (place, *place.rglob("*"))],
            "pids": sorted(processes_of(lab)),
        },
        "orders_with_the_password": {
            "ports": ports_of(lab, "NODE Patroni"),
            "login": f"{REST_USER}:{lab.secrets.rest_api}",
            "body": json.dumps({"postgresql": {"parameters": {"restore_command": "touch /tmp/x"}}}),
        },
    }
    before = running(lab)
    done = subprocess.run(
        [sys.executable, INTRUDER, str(STRANGER if AS_ROOT else os.geteuid())],
        input=json.dumps(what),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert running(lab) == before
    return json.loads(done.stdout)


def test_no_request_without_a_credential_is_answered_on_any_port(found):
    assert found["http"] == []


def test_nobody_logs_in_to_postgresql_without_a_password_or_with_a_wrong_one(found):
    assert found["sql"] == []


def test_who_has_the_password_of_the_health_checks_can_give_no_orders(found):
    assert found["orders_with_the_password"] == []


@pytest.mark.skipif(not AS_ROOT, reason="only root can look with another user's eyes")
def test_another_user_opens_no_file_no_folder_no_socket_and_no_environment(found):
    assert found["files"] == []


RUNS_PROGRAMS = [
    "COPY (SELECT 1) TO PROGRAM 'cat'",
    "COPY accounts FROM PROGRAM 'echo'",
    "COPY (SELECT 1) TO '/tmp/labkit-was-here'",
    "COPY accounts FROM '/etc/passwd'",
    "SELECT pg_read_file('postgresql.conf')",
    "SELECT pg_read_binary_file('/etc/passwd')",
    "SELECT pg_ls_dir('.')",
    "SELECT lo_import('/etc/passwd')",
    "SELECT lo_export(1, '/tmp/labkit-was-here')",
    "ALTER SYSTEM SET archive_command = 'touch /tmp/labkit-was-here'",
    "ALTER SYSTEM SET restore_command = 'touch /tmp/labkit-was-here'",
    "ALTER ROLE trader SUPERUSER",
    "CREATE ROLE more SUPERUSER LOGIN",
    "GRANT pg_execute_server_program TO trader",
    "GRANT postgres TO trader",
    "SET ROLE postgres",
    "SET SESSION AUTHORIZATION postgres",
    "CREATE EXTENSION file_fdw",
    "CREATE EXTENSION dblink",
    "CREATE FUNCTION run(text) RETURNS int LANGUAGE c AS 'libc.so.6', 'system'",
    "CREATE FUNCTION pick() RETURNS void LANGUAGE internal AS 'pg_reload_conf'",
    "SET session_preload_libraries = '/tmp/evil.so'",
    "LOAD '/tmp/evil.so'",
    "SELECT pg_reload_conf()",
    "SELECT pg_promote()",
    "SELECT pg_create_physical_replication_slot('mine')",
    "SELECT rolpassword FROM pg_authid",
    "CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1' PUBLICATION p",
]


def test_the_applications_role_runs_no_program_and_reads_no_file(lab):
    dsn = lab.dsn(lab.leader().region)
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in RUNS_PROGRAMS:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


def test_the_role_of_standbys_gets_into_no_database(lab):
    node = lab.leader()
    with pytest.raises(psycopg.OperationalError, match=r"no pg_hba\.conf entry"):
        psycopg.connect(
            host="127.0.0.1",
            port=lab.layout.postgres(node),
            user="replicator",
            password=lab.secrets.replication,
            dbname="trade_db",
            replication="database",
        )


def test_secrets_are_in_no_environment(lab):
    secrets = [text.encode() for text in secret_texts(lab.secrets)]
    for pid in processes_of(lab):
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        assert not any(secret in environment for secret in secrets), pid


def test_files_with_secrets_are_their_owners_alone(lab):
    secrets = [text.encode() for text in secret_texts(lab.secrets)]
    for place in {lab.home, lab.layout.place}:
        for path in place.rglob("*"):
            if path.is_file() and path.stat().st_mode & 0o077 and "programs" not in path.parts:
                assert not any(secret in path.read_bytes() for secret in secrets), path
