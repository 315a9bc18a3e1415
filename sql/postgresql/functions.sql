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
-- labkit/trading/orders.py maps them to errors.
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
