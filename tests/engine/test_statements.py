"""How the double translates statements, and what it refuses."""

from __future__ import annotations

import pytest

from engine.standin.catalog import Database, Member, Table
from engine.standin.errors import SqlError
from engine.standin.placement import ranges
from engine.standin.text import split
from engine.standin.translate import Context, Plan, translate

REGIONS = ("us-west-2", "us-east-1", "eu-west-1")
MEMBERS = tuple(
    Member(f"uid{i}", i, f"crdb{i}", f"crdb{i}", f"region={REGIONS[(i - 1) // 3]},zone=z{i}")
    for i in range(1, 10)
)
EVERYBODY = frozenset(member.uid for member in MEMBERS)
MULTI = Database("trading", "us-west-2", REGIONS, "region")


def context(*databases: Database, tables: tuple[Table, ...] = ()) -> Context:
    return Context("trading", databases, MEMBERS, EVERYBODY, all_tables=tables)


def plan(text: str, *databases: Database) -> Plan:
    [statement] = split(text)
    return translate(statement, context(*(databases or (MULTI,))))


def refusal(text: str, *databases: Database) -> tuple[str, str]:
    with pytest.raises(SqlError) as caught:
        plan(text, *databases)
    return caught.value.sqlstate, caught.value.message


def test_statements_are_split_at_semicolons_that_are_not_in_strings_or_comments() -> None:
    text = "SELECT ';', $$;$$, \"a;b\" -- ;\n; /* ; */ SELECT 2;"
    assert [statement.text for statement in split(text)] == [
        "SELECT ';', $$;$$, \"a;b\"",
        "SELECT 2",
    ]


def test_a_survival_goal_before_there_are_regions_is_refused() -> None:
    assert refusal("ALTER DATABASE trading SURVIVE REGION FAILURE", Database("trading")) == (
        "42602",
        "database must have associated regions before a survival goal can be set",
    )


def test_two_regions_cannot_survive_the_loss_of_one() -> None:
    two = Database("trading", "us-west-2", REGIONS[:2])
    text = "at least 3 regions are required for surviving a region failure"
    assert refusal("ALTER DATABASE trading SURVIVE REGION FAILURE", two) == ("42602", text)
    create = (
        'CREATE DATABASE d PRIMARY REGION "us-west-2" REGIONS "eu-west-1" SURVIVE REGION FAILURE'
    )
    assert refusal(create) == ("22023", text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("CREATE DATABASE d SURVIVE ZONE FAILURE", "PRIMARY REGION must be specified when using"),
        ('CREATE DATABASE d REGIONS "eu-west-1"', "PRIMARY REGION must be specified if REGIONS"),
        ('CREATE DATABASE d PRIMARY REGION "mars"', 'region "mars" does not exist'),
    ],
)
def test_a_database_needs_a_primary_region_that_exists(text: str, message: str) -> None:
    assert message in refusal(text)[1]


def test_a_region_is_added_to_a_database_with_a_primary_one() -> None:
    assert refusal('ALTER DATABASE trading ADD REGION "eu-west-1"', Database("trading"))[0]
    one = Database("trading", "us-west-2", ("us-west-2",))
    action = plan('ALTER DATABASE trading ADD REGION "eu-west-1"', one).action
    assert action is not None
    assert action.database == Database("trading", "us-west-2", ("us-west-2", "eu-west-1"))


def test_locality_in_a_database_without_regions_is_refused() -> None:
    _, message = refusal("CREATE TABLE t (id INT PRIMARY KEY) LOCALITY GLOBAL", Database("trading"))
    assert message == (
        "cannot set LOCALITY on a table in a database that is not multi-region enabled"
    )


def test_a_regional_by_row_table_gets_a_region_column_and_its_indexes() -> None:
    action = plan(
        "CREATE TABLE t (id STRING PRIMARY KEY, v INT, INDEX t_v (v) STORING (id), FAMILY f (id))"
        " LOCALITY REGIONAL BY ROW"
    ).action
    assert action is not None
    table, index = action.sql
    assert "id TEXT PRIMARY KEY" in table
    assert "v BIGINT" in table
    assert "FAMILY" not in table
    assert "crdb_region public.crdb_internal_region NOT NULL DEFAULT" in table
    assert index == 'CREATE INDEX t_v ON "t" ( v ) INCLUDE ( id )'
    assert action.table == Table("trading", "t", "regional by row")


def test_a_computed_region_stays_a_region() -> None:
    action = plan(
        "CREATE TABLE t (id INT PRIMARY KEY, crdb_region crdb_internal_region NOT NULL"
        " GENERATED ALWAYS AS (CASE id WHEN 1 THEN 'us-west-2' ELSE 'eu-west-1' END) STORED)"
        " LOCALITY REGIONAL BY ROW AS crdb_region"
    ).action
    assert action is not None
    assert "THEN 'us-west-2'::public.crdb_internal_region" in action.sql[0]
    assert "ELSE 'eu-west-1'::public.crdb_internal_region" in action.sql[0]


def test_one_statement_may_change_a_table_once() -> None:
    twice = (
        "WITH a AS (UPDATE t SET v = 1 RETURNING id), b AS (UPDATE t SET v = 2 RETURNING id)"
        " SELECT * FROM a, b"
    )
    sqlstate, message = refusal(twice)
    assert sqlstate == "0A000"
    assert message.startswith('multiple mutations of the same table "t" are not supported')


def test_a_read_that_locks_is_no_write_and_a_cte_that_inserts_is() -> None:
    assert not plan("SELECT * FROM t FOR UPDATE").writes
    assert plan("WITH a AS (INSERT INTO t VALUES (1) RETURNING id) SELECT id FROM a").writes
    assert plan("INSERT INTO t VALUES (1) ON CONFLICT (id) DO UPDATE SET v = 2").writes


def test_every_transaction_is_serializable() -> None:
    begin = plan("BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY")
    assert begin.sql == "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY"


@pytest.mark.parametrize(
    "text",
    [
        "UPSERT INTO t VALUES (1)",
        "BACKUP DATABASE trading INTO 'x'",
        "SET CLUSTER SETTING kv.rangefeed.enabled = true",
        "SET vectorize = off",
        "SHOW JOBS",
        "SELECT * FROM t AS OF SYSTEM TIME '-10s'",
        'ALTER DATABASE trading ADD SUPER REGION r VALUES "us-west-2"',
        "CREATE CHANGEFEED FOR TABLE t",
    ],
)
def test_what_it_does_not_model_it_says_so(text: str) -> None:
    sqlstate, message = refusal(text)
    assert sqlstate == "0A000"
    assert message.startswith("the stand-in does not model: ")


def test_rows_of_a_region_are_led_from_it_while_it_lives() -> None:
    table = Table("trading", "orders", "regional by row")
    for dead in (frozenset[str](), frozenset({"uid1", "uid2", "uid3"})):
        live = EVERYBODY - dead
        found = ranges(MULTI, [table], MEMBERS, live)
        assert len(found) == 3
        assert all(item.available and len(item.voters) == 5 for item in found)
        assert all(item.holder.uid in live for item in found)
    homes = [
        item.holder.locality.split(",")[0] for item in ranges(MULTI, [table], MEMBERS, EVERYBODY)
    ]
    assert homes == [f"region={region}" for region in REGIONS]


def test_with_zone_survival_a_lost_region_takes_its_rows_along() -> None:
    zone = Database("trading", "us-west-2", REGIONS, "zone")
    table = Table("trading", "orders", "regional by row")
    found = ranges(zone, [table], MEMBERS, EVERYBODY - {"uid1", "uid2", "uid3"})
    assert [item.available for item in found] == [False, True, True]
    assert all(len(item.voters) == 3 for item in found)
