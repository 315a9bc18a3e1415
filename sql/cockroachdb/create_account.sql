-- create_account: an account and, unless it is there, its user. What it means is said in
-- sql/postgresql/functions.sql, how refusals are returned in place_order.sql.
--
-- An account is in one region and unique in all, so this asks all of them. That is what a number costs
-- that a client chose (alter-table.md "Using implicit vs. explicit index partitioning", v25.4); orders
-- and deposits do not pay it. The region is named: a row may be put into any of the database's (the same
-- page, "crdb_region").
WITH
by_number AS (
    SELECT account_id, user_id, opening_balance, may_short
    FROM accounts WHERE account_nbr = %(account_nbr)s::TEXT
),
by_id AS (
    SELECT account_nbr FROM accounts WHERE account_id = %(account_id)s::UUID
),
decided AS (
    SELECT
        n.account_id IS NOT NULL AS was_created_before,
        CASE
            WHEN n.account_id <> %(account_id)s::UUID OR n.user_id <> %(user_id)s::UUID
                OR n.opening_balance <> %(opening_balance)s::DECIMAL
                OR n.may_short <> %(may_short)s::BOOL
                OR i.account_nbr <> %(account_nbr)s::TEXT THEN 'LK008'
        END AS refusal
    FROM (VALUES (1)) AS always (one)
    LEFT JOIN by_number AS n ON true
    LEFT JOIN by_id AS i ON true
),
accepted AS (
    SELECT 1 AS one FROM decided WHERE refusal IS NULL AND NOT was_created_before
),
known AS (
    INSERT INTO users (user_id, name, crdb_region)
    SELECT %(user_id)s::UUID, %(name)s::TEXT, %(region)s::crdb_internal_region FROM accepted
    ON CONFLICT (user_id) DO NOTHING
    RETURNING user_id
),
opened AS (
    INSERT INTO accounts
        (account_nbr, user_id, account_id, opening_balance, balance, may_short, crdb_region)
    SELECT %(account_nbr)s::TEXT, %(user_id)s::UUID, %(account_id)s::UUID,
        %(opening_balance)s::DECIMAL, %(opening_balance)s::DECIMAL, %(may_short)s::BOOL,
        %(region)s::crdb_internal_region
    FROM accepted
    RETURNING account_nbr
)
SELECT
    was_created_before,
    refusal,
    CASE refusal
        WHEN 'LK008' THEN 'account ' || %(account_nbr)s::TEXT
            || ' is not to be had: its number or its id is taken by another'
    END AS reason
FROM decided
