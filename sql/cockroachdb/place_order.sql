-- place_order: one order in one statement, so one round trip and one transaction.
--
-- Sent in autocommit: its success is then the commit's success, and the gateway itself begins it
-- again when it meets another transaction, as the one small row of its result has not been sent
-- yet (transactions.md "Automatic retries"; pages named are CockroachDB's, v25.4). No function: its
-- body's statements would run one after the other, and this one is planned as a whole. The client
-- makes the id, and repeats a call whose answer it did not get under the same id: an order that is
-- there already is not placed again, its numbers and price are returned.
--
-- Always one row. `refusal` is one of the codes of sql/postgresql/functions.sql, `reason` its text;
-- then nothing was written. Returned, not raised: SQL here has no way to raise an error of its own.
--
-- It stands on these rules. A WITH that writes must be at the top level
-- (common-table-expressions.md "Data-modifying statements"), every part of it that writes runs to
-- its end whether its rows are used or not (subqueries.md "Data writes in subqueries"), and no table is
-- written twice (subqueries.md "Known limitations", cockroach#70731). Parts do not see each other's
-- writes, only each other's RETURNING (cockroach#42621); foreign keys are checked after them, so an
-- activity may be inserted beside its order (cockroach#129812 shows such a plan).
--
-- A position lives where its account does, so its region comes from the account's row and it is looked
-- up by its whole key. It needs no lock of its own: only the account's orders write it.
--
-- Locks. FOR UPDATE, so that orders of one account or at one price queue instead of restarting each
-- other (select-for-update.md). The UPDATEs below would not lock what they read: with FROM they do
-- not have the form for which CockroachDB locks by itself (cockroach#45159). MATERIALIZED: the result
-- of a part is then stored (common-table-expressions.md), by a subquery ahead of the rest
-- (cockroach#172932). That these run in the order written, so that locks are taken in one order
-- everywhere (account, price, order), is inferred; no page says it. The account is in the client's
-- region, which costs no long round trip; the price is in the primary region, whoever asks (schema.sql).
--
-- Locks only save time. They can be lost under SERIALIZABLE (select-for-update.md "Lock behavior
-- under SERIALIZABLE isolation"), isolation cannot: that no money is spent twice and no price is
-- computed from an old one follows from it alone.
--
-- Twice the same id at once: both find no earlier order, one commits, the other is begun again and
-- finds it, or fails on the primary key (23505), which attempts.reply_of takes for "try again". The
-- region is computed from the id (schema.sql), so that key is one row in one region wherever the
-- attempts came from.
--
-- A retry only reads. What it reads is a committed write, and a write commits when a majority of
-- its replicas has it (architecture/transaction-layer.md "Parallel Commits": whoever meets a commit
-- under way waits for its end). PostgreSQL's function must write there, because a row can be
-- visible on a primary before any standby has it.
--
-- Constants stand in the WHERE of every read and write, or the planner might look at more rows than
-- the one that is meant, and lock them.
WITH
account AS MATERIALIZED (
    SELECT balance, may_short, crdb_region
    FROM accounts WHERE account_nbr = %(account_nbr)s::TEXT FOR UPDATE
),
quote AS MATERIALIZED (
    SELECT current_price, moves FROM prices WHERE symbol = %(symbol)s::TEXT FOR UPDATE
),
held AS (
    SELECT positions.quantity FROM account
    JOIN positions ON positions.crdb_region = account.crdb_region
        AND positions.account_nbr = %(account_nbr)s::TEXT AND positions.symbol = %(symbol)s::TEXT
),
earlier AS (
    SELECT order_nbr, account_nbr, symbol, order_type, total_qty, unit_price, move_nbr
    FROM orders WHERE order_id = %(order_id)s::UUID
),
asked AS (
    SELECT
        a.balance,
        a.may_short,
        a.crdb_region,
        coalesce(h.quantity, 0) AS held,
        q.current_price AS price,
        q.moves,
        CASE %(side)s::TEXT WHEN 'buy' THEN 0.10 ELSE -0.10 END AS step,
        CASE %(side)s::TEXT WHEN 'buy' THEN 1 ELSE -1 END * q.current_price * %(quantity)s::BIGINT
            AS debit,
        e.order_nbr IS NOT NULL AS was_placed_before,
        e.order_nbr, e.account_nbr, e.symbol, e.order_type, e.total_qty, e.unit_price,
        e.move_nbr
    FROM (VALUES (1)) AS always (one)
    LEFT JOIN account AS a ON true
    LEFT JOIN quote AS q ON true
    LEFT JOIN held AS h ON true
    LEFT JOIN earlier AS e ON true
),
decided AS (
    SELECT *,
        CASE
            WHEN %(quantity)s::BIGINT NOT BETWEEN 1 AND 1000000 THEN 'LK006'
            WHEN balance IS NULL THEN 'LK001'
            WHEN price IS NULL THEN 'LK002'
            WHEN was_placed_before AND (account_nbr <> %(account_nbr)s::TEXT
                OR symbol <> %(symbol)s::TEXT OR order_type <> %(side)s::TEXT
                OR total_qty <> %(quantity)s::BIGINT) THEN 'LK005'
            WHEN was_placed_before THEN NULL
            WHEN debit > balance THEN 'LK003'
            WHEN debit < 0 AND NOT may_short AND %(quantity)s::BIGINT > held THEN 'LK007'
            WHEN price + step < 0.10 THEN 'LK004'
        END AS refusal
    FROM asked
),
accepted AS (
    SELECT price, step, debit, moves + 1 AS move_nbr, crdb_region
    FROM decided WHERE refusal IS NULL AND NOT was_placed_before
),
debited AS (
    UPDATE accounts SET balance = accounts.balance - accepted.debit
    FROM accepted WHERE accounts.account_nbr = %(account_nbr)s::TEXT
    RETURNING accounts.account_nbr
),
moved AS (
    UPDATE prices
    SET current_price = prices.current_price + accepted.step, moves = accepted.move_nbr
    FROM accepted WHERE prices.symbol = %(symbol)s::TEXT
    RETURNING prices.symbol
),
placed AS (
    INSERT INTO orders (order_id, account_nbr, symbol, total_qty, order_type, unit_price, move_nbr)
    SELECT %(order_id)s::UUID, %(account_nbr)s::TEXT, %(symbol)s::TEXT, %(quantity)s::BIGINT,
        %(side)s::TEXT, price, move_nbr
    FROM accepted
    RETURNING order_id, order_nbr, unit_price, move_nbr
),
position AS (
    INSERT INTO positions AS p (account_nbr, symbol, quantity, net_cost, crdb_region)
    SELECT %(account_nbr)s::TEXT, %(symbol)s::TEXT,
        CASE %(side)s::TEXT WHEN 'buy' THEN 1 ELSE -1 END * %(quantity)s::BIGINT, debit, crdb_region
    FROM accepted
    ON CONFLICT (crdb_region, account_nbr, symbol)
        DO UPDATE SET quantity = p.quantity + excluded.quantity,
            net_cost = p.net_cost + excluded.net_cost
    RETURNING p.quantity
),
received AS (
    INSERT INTO order_activity (order_id, order_status)
    SELECT order_id, 'order_received' FROM placed
    RETURNING order_id
)
SELECT
    coalesce(placed.order_nbr, decided.order_nbr) AS placed_order_nbr,
    coalesce(placed.unit_price, decided.unit_price) AS placed_unit_price,
    coalesce(placed.move_nbr, decided.move_nbr) AS placed_move_nbr,
    decided.was_placed_before,
    decided.refusal,
    CASE decided.refusal
        WHEN 'LK001' THEN 'no account ' || %(account_nbr)s::TEXT
        WHEN 'LK002' THEN 'no instrument ' || %(symbol)s::TEXT
        WHEN 'LK003' THEN 'account ' || %(account_nbr)s::TEXT || ' has ' || decided.balance::TEXT
            || ', this buy costs ' || decided.debit::TEXT || ': add money or buy fewer shares'
        WHEN 'LK004' THEN %(symbol)s::TEXT || ' stands at ' || decided.price::TEXT
            || ': a sell would take it below 0.10'
        WHEN 'LK005' THEN 'order ' || %(order_id)s::UUID::TEXT || ' is a ' || decided.order_type
            || ' of ' || decided.total_qty::TEXT || ' ' || decided.symbol || ' by account '
            || decided.account_nbr || ': use a new id for another order'
        WHEN 'LK006' THEN 'quantity ' || %(quantity)s::BIGINT::TEXT
            || ' refused: an order has 1 to 1,000,000 shares'
        WHEN 'LK007' THEN 'account ' || %(account_nbr)s::TEXT || ' holds ' || decided.held::TEXT
            || ' ' || %(symbol)s::TEXT || ', this sells ' || %(quantity)s::BIGINT::TEXT
            || ': sell what it holds, or buy first'
    END AS reason
FROM decided LEFT JOIN placed ON true
