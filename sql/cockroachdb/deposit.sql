-- deposit: money into an account. What it means is said in sql/postgresql/functions.sql, the rules it
-- stands on in place_order.sql: locks, retries, refusals, and why a retry only reads.
WITH
account AS MATERIALIZED (
    SELECT balance FROM accounts WHERE account_nbr = %(account_nbr)s::TEXT FOR UPDATE
),
earlier AS (
    SELECT account_nbr, amount FROM deposits WHERE deposit_id = %(deposit_id)s::UUID
),
decided AS (
    SELECT
        a.balance,
        e.account_nbr,
        e.amount,
        e.account_nbr IS NOT NULL AS was_made_before,
        CASE
            WHEN %(amount)s::DECIMAL <= 0
                OR %(amount)s::DECIMAL <> round(%(amount)s::DECIMAL, 2) THEN 'LK006'
            WHEN a.balance IS NULL THEN 'LK001'
            WHEN e.account_nbr <> %(account_nbr)s::TEXT OR e.amount <> %(amount)s::DECIMAL
                THEN 'LK009'
        END AS refusal
    FROM (VALUES (1)) AS always (one)
    LEFT JOIN account AS a ON true
    LEFT JOIN earlier AS e ON true
),
accepted AS (
    SELECT 1 AS one FROM decided WHERE refusal IS NULL AND NOT was_made_before
),
made AS (
    INSERT INTO deposits (deposit_id, account_nbr, amount)
    SELECT %(deposit_id)s::UUID, %(account_nbr)s::TEXT, %(amount)s::DECIMAL FROM accepted
    RETURNING deposit_id
),
credited AS (
    UPDATE accounts SET balance = accounts.balance + %(amount)s::DECIMAL
    FROM accepted WHERE accounts.account_nbr = %(account_nbr)s::TEXT
    RETURNING accounts.balance
)
SELECT
    coalesce(credited.balance, decided.balance) AS new_balance,
    decided.was_made_before,
    decided.refusal,
    CASE decided.refusal
        WHEN 'LK001' THEN 'no account ' || %(account_nbr)s::TEXT
        WHEN 'LK006' THEN 'deposit of ' || %(amount)s::DECIMAL::TEXT
            || ' refused: an amount is positive and in whole cents'
        WHEN 'LK009' THEN 'deposit ' || %(deposit_id)s::UUID::TEXT || ' is of '
            || decided.amount::TEXT || ' into account ' || decided.account_nbr
            || ': use a new id for another deposit'
    END AS reason
FROM decided LEFT JOIN credited ON true
