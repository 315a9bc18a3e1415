"""What the cluster knows of itself: nodes, databases, tables' localities, settings.

CockroachDB keeps it in system ranges; the double keeps it in a database of the shared PostgreSQL
and reads it again every REFRESH_S.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from .errors import SqlError, Unreachable
from .postgres import Backend, Store
from .text import quote, quote_name

REFRESH_S = 0.3
DATABASE = "standin_catalog"


@dataclass(frozen=True, slots=True)
class Database:
    """A database's regions and goal; a database with no regions has neither."""

    name: str
    primary: str = ""
    regions: tuple[str, ...] = ()
    goal: str = "zone"


@dataclass(frozen=True, slots=True)
class Table:
    """A table's locality.

    Attributes:
        locality: "global", "regional by row" or "regional by table".
        detail: the region column, or the region, where one was named.
    """

    database: str
    name: str
    locality: str = "regional by table"
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Member:
    """A node that has joined. `state`: active, decommissioning, decommissioned; `draining` too."""

    uid: str
    node_id: int
    address: str
    sql_address: str
    locality: str
    state: str = "active"


@dataclass(slots=True)
class Catalog:
    """The shared state, as last read."""

    store: Store
    members: dict[str, Member] = field(default_factory=dict)
    databases: dict[str, Database] = field(default_factory=dict)
    tables: dict[tuple[str, str], Table] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    cluster_id: str = ""
    _backend: Backend | None = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def open(self) -> None:
        """Make the catalogue if nobody has, and read it.

        Raises:
            Unreachable: PostgreSQL is not there (yet).
            SqlError: it is starting.
        """
        try:
            await self.inside("postgres", f"CREATE DATABASE {DATABASE} TEMPLATE template0")
        except SqlError as error:
            if error.sqlstate not in ("42P04", "23505"):  # another node was faster
                raise
        await self._run(_TABLE)
        await self.refresh()

    async def refresh(self) -> None:
        """Read it again.

        Raises:
            Unreachable: PostgreSQL is not there.
        """
        rows = await self._run("SELECT kind, name, value FROM entries ORDER BY kind, name")
        found: dict[str, dict[str, Any]] = {}
        for kind, name, value in rows:
            found.setdefault(str(kind), {})[str(name)] = json.loads(str(value))
        self.members = {k: Member(**v) for k, v in found.get("member", {}).items()}
        self.databases = {
            k: Database(**{**v, "regions": tuple(v["regions"])})
            for k, v in found.get("database", {}).items()
        }
        tables = [Table(**v) for v in found.get("table", {}).values()]
        self.tables = {(t.database, t.name): t for t in tables}
        self.settings = found.get("setting", {})
        self.cluster_id = found.get("cluster", {}).get("id", "")

    async def keep_fresh(self) -> None:
        """Read it again and again; what is known stays while PostgreSQL is away."""
        while True:
            with suppress(Unreachable, SqlError):
                await self.refresh()
            await asyncio.sleep(REFRESH_S)

    async def initialise(self, cluster_id: str) -> bool:
        """Make the cluster; False when it was made before."""
        sql = (
            f"INSERT INTO entries VALUES ('cluster', 'id', to_json({quote(cluster_id)}::text))"
            " ON CONFLICT DO NOTHING RETURNING 1"
        )
        made = bool(await self._run(sql))
        if made:
            await self.create(Database("defaultdb"))
        await self.refresh()
        return made

    async def join(self, uid: str, address: str, sql_address: str, locality: str) -> Member:
        """Give a node its number, or find the one it has."""
        await self.refresh()
        known = self.members.get(uid)
        if known is None:
            [(number,)] = await self._run("SELECT nextval('node_ids')")
            known = Member(uid, int(str(number)), address, sql_address, locality)
        member = Member(uid, known.node_id, address, sql_address, locality, known.state)
        await self.put("member", uid, asdict(member))
        return member

    async def put(self, kind: str, name: str, value: object) -> None:
        """Write an entry and read all again."""
        await self._run(
            f"INSERT INTO entries VALUES ({quote(kind)}, {quote(name)}, {quote(json.dumps(value))})"
            " ON CONFLICT (kind, name) DO UPDATE SET value = excluded.value"
        )
        await self.refresh()

    async def drop(self, kind: str, name: str) -> None:
        await self._run(f"DELETE FROM entries WHERE kind = {quote(kind)} AND name = {quote(name)}")
        await self.refresh()

    async def save(self, database: Database) -> None:
        await self.put("database", database.name, asdict(database))

    async def note_table(self, table: Table) -> None:
        await self.put("table", f"{table.database}/{table.name}", asdict(table))

    async def create(self, database: Database) -> None:
        """Make a database, with what the double needs in it.

        Raises:
            SqlError: it is there already (42P04).
        """
        await self._run(f"CREATE DATABASE {quote_name(database.name)} TEMPLATE template0")
        await self.inside(database.name, _IN_EVERY_DATABASE)
        await self.save(database)
        await self.place(database, {})

    async def place(self, database: Database, before: dict[str, None]) -> None:
        """Let a database know its regions."""
        sql = [
            f"DELETE FROM standin.home; INSERT INTO standin.home VALUES ({quote(database.primary)})"
        ]
        added = [region for region in database.regions if region not in before]
        if added and not before:
            labels = ", ".join(quote(region) for region in database.regions)
            sql.append(f"CREATE TYPE public.crdb_internal_region AS ENUM ({labels})")
        elif added:
            sql += [
                f"ALTER TYPE public.crdb_internal_region ADD VALUE {quote(region)}"
                for region in added
            ]
        for statement in sql:
            await self.inside(database.name, statement)

    async def inside(self, database: str, sql: str) -> list[tuple[str | None, ...]]:
        """Run SQL in another database, as the superuser."""
        backend = await Backend.open(self.store.host, self.store.port, self._who(database))
        try:
            return await backend.rows(sql)
        finally:
            backend.close()

    def _who(self, database: str) -> dict[str, str]:
        return {"user": self.store.user, "database": database, "client_encoding": "UTF8"}

    async def _run(self, sql: str) -> list[tuple[str | None, ...]]:
        async with self._lock:
            try:
                if self._backend is None:
                    self._backend = await Backend.open(
                        self.store.host, self.store.port, self._who(DATABASE)
                    )
                return await asyncio.wait_for(self._backend.rows(sql), 20)
            except (EOFError, OSError, TimeoutError) as error:
                self._forget()
                raise Unreachable(f"the shared PostgreSQL: {error}") from error
            except asyncio.CancelledError:
                self._forget()  # its answer would be taken for the next one's
                raise

    def _forget(self) -> None:
        if self._backend is not None:
            self._backend.writer.close()
        self._backend = None


# one message, so one transaction: the lock is held until all of it is there for everybody
_TABLE = """
SELECT pg_advisory_xact_lock(4711);
CREATE TABLE IF NOT EXISTS entries (
    kind TEXT, name TEXT, value JSON NOT NULL, PRIMARY KEY (kind, name)
);
CREATE SEQUENCE IF NOT EXISTS node_ids;
DO $$ BEGIN
    IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'root') THEN
        CREATE ROLE root SUPERUSER LOGIN;
    END IF;
END $$;
"""

# `standin.region` and `standin.version` are set by the node when a session begins
_IN_EVERY_DATABASE = """
CREATE SCHEMA standin;
GRANT USAGE ON SCHEMA standin TO PUBLIC;
GRANT ALL ON SCHEMA public TO PUBLIC;
CREATE TABLE standin.home (region TEXT);
GRANT SELECT ON standin.home TO PUBLIC;
CREATE SEQUENCE standin.row_ids;
GRANT USAGE ON standin.row_ids TO PUBLIC;
CREATE FUNCTION standin.gateway_region() RETURNS TEXT STABLE LANGUAGE sql
    AS $$ SELECT current_setting('standin.region') $$;
CREATE FUNCTION standin.version() RETURNS TEXT STABLE LANGUAGE sql
    AS $$ SELECT current_setting('standin.version') $$;
CREATE FUNCTION standin.default_to_database_primary_region(region TEXT) RETURNS TEXT
    STABLE LANGUAGE sql AS $$
    SELECT CASE WHEN region IN (
        SELECT enumlabel FROM pg_enum JOIN pg_type ON pg_type.oid = enumtypid
        WHERE typname = 'crdb_internal_region'
    ) THEN region ELSE (SELECT home.region FROM standin.home) END $$;
CREATE FUNCTION standin.unique_rowid() RETURNS BIGINT VOLATILE LANGUAGE sql AS $$
    SELECT ((extract(epoch FROM clock_timestamp()) * 1000)::BIGINT << 20)
        | (nextval('standin.row_ids') & 1048575) $$;
"""
