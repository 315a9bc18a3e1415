-- place_order: one order in one statement, so one round trip and one transaction.
--
-- Call it in autocommit: its success is then the commit's success. The client makes the id, and
-- repeats a call whose answer it did not get under the same id: an order that is there already is
-- not placed again, its numbers and price are returned.
--
-- Refusals abort the transaction, so nothing is written:
--   LK001  no such account
--   LK002  no such instrument
--   LK003  the account cannot pay for this buy
--   LK004  the sell would take the price below 0.10
--   LK005  the id belongs to a different order
--   LK006  the quantity is not between 1 and 1,000,000
-- labkit/trading/attempts.py maps them to errors.
--
-- Locks are taken in one order everywhere: account, price, order id. So two orders can wait
-- for each other, but never both ways.
--
-- A retry writes (`retries + 1`) although it has nothing to store. The first attempt's row may be
-- visible here while no standby has it yet (its wait was cancelled, its client gone); a retry that
-- only read it would be acknowledged without waiting. A write waits for the standbys, and with it
-- everything that was written before.
CREATE OR REPLACE FUNCTION place_order(
    p_order_id UUID,
    p_account_nbr TEXT,
    p_symbol TEXT,
    p_side TEXT,
    p_quantity BIGINT,
    OUT placed_order_nbr BIGINT,
    OUT placed_unit_price DECIMAL(20,2),
    OUT placed_move_nbr BIGINT,
    OUT was_placed_before BOOLEAN
) AS $$
DECLARE
    v_balance DECIMAL(20,2);
    v_price   DECIMAL(20,2);
    v_moves   BIGINT;
    v_step    DECIMAL(20,2);
    v_debit   DECIMAL(20,2);
    v_order   orders;
BEGIN
    IF p_quantity NOT BETWEEN 1 AND 1000000 THEN
        RAISE EXCEPTION 'quantity % refused: an order has 1 to 1,000,000 shares', p_quantity
            USING ERRCODE = 'LK006';
    END IF;

    SELECT balance INTO v_balance
        FROM accounts WHERE account_nbr = p_account_nbr FOR NO KEY UPDATE;
    IF v_balance IS NULL THEN
        RAISE EXCEPTION 'no account %', p_account_nbr USING ERRCODE = 'LK001';
    END IF;

    SELECT current_price, moves INTO v_price, v_moves
        FROM prices WHERE symbol = p_symbol FOR NO KEY UPDATE;
    IF v_price IS NULL THEN
        RAISE EXCEPTION 'no instrument %', p_symbol USING ERRCODE = 'LK002';
    END IF;

    INSERT INTO orders AS o
        (order_id, account_nbr, symbol, total_qty, order_type, unit_price, move_nbr)
        VALUES
        (p_order_id, p_account_nbr, p_symbol, p_quantity, p_side, v_price, v_moves + 1)
        ON CONFLICT (order_id) DO UPDATE SET retries = o.retries + 1
        RETURNING o.* INTO v_order;
    placed_order_nbr := v_order.order_nbr;
    placed_unit_price := v_order.unit_price;
    placed_move_nbr := v_order.move_nbr;
    was_placed_before := v_order.retries > 0;

    IF was_placed_before THEN
        IF (v_order.account_nbr, v_order.symbol, v_order.order_type, v_order.total_qty)
            <> (p_account_nbr, p_symbol, p_side, p_quantity)
        THEN
            RAISE EXCEPTION 'order % is a % of % % by account %: use a new id for another order',
                p_order_id, v_order.order_type, v_order.total_qty, v_order.symbol,
                v_order.account_nbr
                USING ERRCODE = 'LK005';
        END IF;
        RETURN;
    END IF;

    IF p_side = 'buy' THEN
        v_step := 0.10;
        v_debit := v_price * p_quantity;
    ELSE
        v_step := -0.10;
        v_debit := -v_price * p_quantity;
    END IF;
    IF v_debit > v_balance THEN
        RAISE EXCEPTION 'account % has %, this buy costs %: add money or buy fewer shares',
            p_account_nbr, v_balance, v_debit
            USING ERRCODE = 'LK003';
    END IF;
    IF v_price + v_step < 0.10 THEN
        RAISE EXCEPTION '% stands at %: a sell would take it below 0.10', p_symbol, v_price
            USING ERRCODE = 'LK004';
    END IF;

    UPDATE accounts SET balance = balance - v_debit WHERE account_nbr = p_account_nbr;
    UPDATE prices SET current_price = current_price + v_step, moves = v_order.move_nbr
        WHERE symbol = p_symbol;
    INSERT INTO order_activity (order_id, order_status) VALUES (p_order_id, 'order_received');
END;
$$ LANGUAGE plpgsql;


-- claim_orders: up to p_batch open orders for one processor, the oldest first. One short transaction;
-- what another processor is just taking is passed over, not waited for.
--
-- A claim is a lease. An order that is not completed within p_lease_s of its claim is given to the
-- next who asks: its processor died, or is too slow. Who is right about the time does not matter for
-- what is executed: complete_orders looks at the claim, not at the clock.
--
-- The condition names order_status <> 'processed' as the index of open orders does, or that index
-- could not be used. The planner's statistics are of another moment than the queue, so it might sort
-- all of a long queue for a short batch, or read the whole table; the settings leave it the index.
CREATE OR REPLACE FUNCTION claim_orders(
    p_claim_id UUID,
    p_batch BIGINT,
    p_lease_s DOUBLE PRECISION
) RETURNS TABLE (claimed_order_id UUID)
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_sort = off
AS $$
BEGIN
    RETURN QUERY
    WITH due AS MATERIALIZED (
        SELECT o.order_id FROM orders AS o
        WHERE o.order_status <> 'processed' AND (
            o.order_status = 'received'
            OR o.claimed_ts < clock_timestamp() - p_lease_s * INTERVAL '1 second'
        )
        ORDER BY o.order_nbr LIMIT p_batch FOR NO KEY UPDATE SKIP LOCKED
    ),
    claimed AS (
        UPDATE orders AS o
        SET order_status = 'processing', claim_id = p_claim_id, claimed_ts = clock_timestamp()
        FROM due WHERE o.order_id = due.order_id
        RETURNING o.order_id
    ),
    noted AS (
        INSERT INTO order_activity (order_id, order_status)
        SELECT claimed.order_id, 'processing' FROM claimed
        RETURNING order_id
    )
    SELECT noted.order_id FROM noted;
END;
$$ LANGUAGE plpgsql;


-- complete_orders: executes those of the orders that are still under the claim, all or none. What a
-- repeated call finds processed, and what another processor has claimed since, is left alone. Returns
-- how many this call executed.
CREATE OR REPLACE FUNCTION complete_orders(p_claim_id UUID, p_order_ids UUID[])
RETURNS BIGINT
SET enable_seqscan = off
AS $$
DECLARE
    v_completed BIGINT;
BEGIN
    WITH done AS (
        UPDATE orders AS o SET order_status = 'processed'
        WHERE o.order_id = ANY (p_order_ids)
            AND o.order_status = 'processing' AND o.claim_id = p_claim_id
        RETURNING o.order_id, o.symbol, o.order_type, o.unit_price, o.total_qty
    ),
    executed AS (
        INSERT INTO order_processing (order_id, order_status)
        SELECT done.order_id, 'order_processed' FROM done
        RETURNING order_processing.order_id, order_processing.execution_id
    ),
    traded AS (
        INSERT INTO trades (execution_id, symbol, order_type, trade_price, quantity)
        SELECT executed.execution_id, done.symbol, done.order_type, done.unit_price, done.total_qty
        FROM done JOIN executed ON executed.order_id = done.order_id
        RETURNING trade_id
    ),
    noted AS (
        INSERT INTO order_activity (order_id, order_status)
        SELECT done.order_id, 'order_processed' FROM done
        RETURNING activity_id
    )
    SELECT count(*) INTO v_completed FROM done;
    RETURN v_completed;
END;
$$ LANGUAGE plpgsql;
