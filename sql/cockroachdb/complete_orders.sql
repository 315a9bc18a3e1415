-- complete_orders: executes those of the orders that are still under the claim, all or none; returns
-- how many. What it means is said in sql/postgresql/functions.sql.
--
-- The ids are joined, not compared with ANY, so that each is looked up by the primary key. Foreign keys
-- are checked after all parts (place_order.sql), so a trade may be inserted beside its execution.
WITH
done AS (
    UPDATE orders SET order_status = 'processed'
    FROM unnest(%(order_ids)s::UUID[]) AS mine (order_id)
    WHERE orders.crdb_region = %(region)s::crdb_internal_region
        AND orders.order_id = mine.order_id
        AND orders.order_status = 'processing' AND orders.claim_id = %(claim_id)s::UUID
    RETURNING orders.order_id, orders.symbol, orders.order_type, orders.unit_price, orders.total_qty
),
executed AS (
    INSERT INTO order_processing (order_id, order_status)
    SELECT order_id, 'order_processed' FROM done
    RETURNING order_id, execution_id
),
traded AS (
    INSERT INTO trades (execution_id, symbol, order_type, trade_price, quantity, crdb_region)
    SELECT executed.execution_id, done.symbol, done.order_type, done.unit_price, done.total_qty,
        %(region)s::crdb_internal_region
    FROM done JOIN executed ON executed.order_id = done.order_id
    RETURNING trade_id
),
noted AS (
    INSERT INTO order_activity (order_id, order_status)
    SELECT order_id, 'order_processed' FROM done
    RETURNING activity_id
)
SELECT count(*) AS completed FROM done
