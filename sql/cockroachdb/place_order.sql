WITH
account AS (
    SELECT balance FROM accounts WHERE account_nbr = %(account_nbr)s::TEXT FOR UPDATE
),
instrument AS (
    SELECT current_price FROM instruments WHERE symbol = %(symbol)s::TEXT
),
earlier AS (
    SELECT order_nbr, account_nbr, symbol, order_type, total_qty, unit_price
    FROM orders WHERE order_id = %(order_id)s::UUID
),
asked AS (
    SELECT
        a.balance,
        i.current_price AS price,
        CASE %(side)s::TEXT WHEN 'buy' THEN 0.10 ELSE -0.10 END AS step,
        CASE %(side)s::TEXT WHEN 'buy' THEN 1 ELSE -1 END * i.current_price * %(quantity)s::BIGINT
            AS debit,
        e.order_nbr IS NOT NULL AS was_placed_before,
        e.order_nbr, e.account_nbr, e.symbol, e.order_type, e.total_qty, e.unit_price
    FROM (VALUES (1)) AS always (one)
    LEFT JOIN account AS a ON true
    LEFT JOIN instrument AS i ON true
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
            WHEN price + step < 0.10 THEN 'LK004'
        END AS refusal
    FROM asked
),
accepted AS (
    SELECT price, step, debit FROM decided WHERE refusal IS NULL AND NOT was_placed_before
),
debited AS (
    UPDATE accounts SET balance = accounts.balance - accepted.debit
    FROM accepted WHERE accounts.account_nbr = %(account_nbr)s::TEXT
    RETURNING accounts.account_nbr
),
moved AS (
    UPDATE instruments SET current_price = instruments.current_price + accepted.step
    FROM accepted WHERE instruments.symbol = %(symbol)s::TEXT
    RETURNING instruments.symbol
),
placed AS (
    INSERT INTO orders (order_id, account_nbr, symbol, total_qty, order_type, unit_price)
    SELECT %(order_id)s::UUID, %(account_nbr)s::TEXT, %(symbol)s::TEXT, %(quantity)s::BIGINT,
        %(side)s::TEXT, price
    FROM accepted
    RETURNING order_id, order_nbr, unit_price
),
received AS (
    INSERT INTO order_activity (order_id, order_status)
    SELECT order_id, 'order_received' FROM placed
    RETURNING order_id
)
SELECT
    coalesce(placed.order_nbr, decided.order_nbr) AS placed_order_nbr,
    coalesce(placed.unit_price, decided.unit_price) AS placed_unit_price,
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
    END AS reason
FROM decided LEFT JOIN placed ON true
