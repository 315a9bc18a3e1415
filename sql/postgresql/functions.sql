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
--   LK007  the account does not hold what it sells
-- labkit/trading/attempts.py maps them to errors.
--
-- Locks are taken in one order everywhere: account, price, order id. The account's position needs
-- none: only the account's orders write it. So two orders can wait
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
    v_short   BOOLEAN;
    v_held    BIGINT;
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

    SELECT balance, may_short INTO v_balance, v_short
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
    IF p_side = 'sell' AND NOT v_short THEN
        SELECT quantity INTO v_held
            FROM positions WHERE account_nbr = p_account_nbr AND symbol = p_symbol;
        IF p_quantity > coalesce(v_held, 0) THEN
            RAISE EXCEPTION 'account % holds % %, this sells %: sell what it holds, or buy first',
                p_account_nbr, coalesce(v_held, 0), p_symbol, p_quantity
                USING ERRCODE = 'LK007';
        END IF;
    END IF;
    IF v_price + v_step < 0.10 THEN
        RAISE EXCEPTION '% stands at %: a sell would take it below 0.10', p_symbol, v_price
            USING ERRCODE = 'LK004';
    END IF;

    UPDATE accounts SET balance = balance - v_debit WHERE account_nbr = p_account_nbr;
    UPDATE prices SET current_price = current_price + v_step, moves = v_order.move_nbr
        WHERE symbol = p_symbol;
    INSERT INTO positions AS p (account_nbr, symbol, quantity, net_cost)
        VALUES (p_account_nbr, p_symbol, sign(v_debit) * p_quantity, v_debit)
        ON CONFLICT (account_nbr, symbol) DO UPDATE
        SET quantity = p.quantity + EXCLUDED.quantity, net_cost = p.net_cost + EXCLUDED.net_cost;
    INSERT INTO order_activity (order_id, order_status) VALUES (p_order_id, 'order_received');
END;
$$ LANGUAGE plpgsql;


-- create_account: an account and, unless it is there, its user. Called like place_order: under ids that
-- the client made, again under the same ids when no answer came.
--   LK008  the number or the id belongs to another account
CREATE OR REPLACE FUNCTION create_account(
    p_account_id UUID,
    p_account_nbr TEXT,
    p_user_id UUID,
    p_name TEXT,
    p_opening_balance DECIMAL(20,2),
    p_may_short BOOLEAN,
    OUT was_created_before BOOLEAN
) AS $$
DECLARE
    v_account accounts;
BEGIN
    INSERT INTO users (user_id, name) VALUES (p_user_id, p_name) ON CONFLICT DO NOTHING;
    -- by number or by id, whatever is there
    INSERT INTO accounts
        (account_nbr, user_id, account_id, opening_balance, balance, may_short)
        VALUES
        (p_account_nbr, p_user_id, p_account_id, p_opening_balance, p_opening_balance, p_may_short)
        ON CONFLICT DO NOTHING;
    was_created_before := NOT FOUND;
    IF was_created_before THEN
        -- a retry writes, for the reason that place_order gives
        UPDATE accounts AS a SET may_short = a.may_short
            WHERE a.account_nbr = p_account_nbr RETURNING a.* INTO v_account;
        IF (v_account.account_id, v_account.user_id, v_account.opening_balance, v_account.may_short)
            IS DISTINCT FROM (p_account_id, p_user_id, p_opening_balance, p_may_short)
        THEN
            RAISE EXCEPTION 'account % is not to be had: its number or its id is taken by another',
                p_account_nbr
                USING ERRCODE = 'LK008';
        END IF;
    END IF;
END;
$$ LANGUAGE plpgsql;


-- deposit: money into an account. Called like place_order; refuses with LK001 and LK006, and
--   LK009  the id belongs to a different deposit
CREATE OR REPLACE FUNCTION deposit(
    p_deposit_id UUID,
    p_account_nbr TEXT,
    p_amount DECIMAL,
    OUT new_balance DECIMAL(20,2),
    OUT was_made_before BOOLEAN
) AS $$
DECLARE
    v_deposit deposits;
BEGIN
    IF p_amount <= 0 OR p_amount <> round(p_amount, 2) THEN
        RAISE EXCEPTION 'deposit of % refused: an amount is positive and in whole cents', p_amount
            USING ERRCODE = 'LK006';
    END IF;

    SELECT balance INTO new_balance
        FROM accounts WHERE account_nbr = p_account_nbr FOR NO KEY UPDATE;
    IF new_balance IS NULL THEN
        RAISE EXCEPTION 'no account %', p_account_nbr USING ERRCODE = 'LK001';
    END IF;

    INSERT INTO deposits AS d (deposit_id, account_nbr, amount)
        VALUES (p_deposit_id, p_account_nbr, p_amount)
        ON CONFLICT (deposit_id) DO UPDATE SET retries = d.retries + 1
        RETURNING d.* INTO v_deposit;
    was_made_before := v_deposit.retries > 0;

    IF was_made_before THEN
        IF (v_deposit.account_nbr, v_deposit.amount) <> (p_account_nbr, p_amount) THEN
            RAISE EXCEPTION 'deposit % is of % into account %: use a new id for another deposit',
                p_deposit_id, v_deposit.amount, v_deposit.account_nbr
                USING ERRCODE = 'LK009';
        END IF;
        RETURN;
    END IF;

    UPDATE accounts SET balance = balance + p_amount WHERE account_nbr = p_account_nbr
        RETURNING balance INTO new_balance;
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
