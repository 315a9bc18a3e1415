-- Who trades, 301 accounts. Those for load are 0001000001 to 0001000300, dealt to the regions in
-- turn as the workload deals them to its clients, so that a client's accounts are in its region.
-- Rows that are there already stay as they are: balances have moved since. They may sell short, or half of a load would be
-- refused.
INSERT INTO users (user_id, name, crdb_region)
SELECT md5('user ' || n::TEXT)::UUID, 'Lab Trader ' || n::TEXT,
    ($regions)[1 + (n - 1) % array_length($regions, 1)]::crdb_internal_region
FROM generate_series(1, 300) AS numbers (n)
ON CONFLICT (user_id) DO NOTHING;

INSERT INTO accounts
    (account_nbr, user_id, account_id, opening_balance, balance, may_short, crdb_region)
SELECT lpad((1000000 + n)::TEXT, 10, '0'), md5('user ' || n::TEXT)::UUID,
    md5('account ' || n::TEXT)::UUID, 1000000000.00, 1000000000.00, true,
    ($regions)[1 + (n - 1) % array_length($regions, 1)]::crdb_internal_region
FROM generate_series(1, 300) AS numbers (n)
ON CONFLICT (account_nbr) DO NOTHING;

-- The account of the person at the trading desk, in the primary region. It sells what it holds.
INSERT INTO users (user_id, name, crdb_region)
VALUES (md5('demo user')::UUID, 'Demo Trader', ($regions)[1]::crdb_internal_region)
ON CONFLICT (user_id) DO NOTHING;

INSERT INTO accounts (account_nbr, user_id, account_id, opening_balance, balance, crdb_region)
VALUES ('0005821112', md5('demo user')::UUID, md5('demo account')::UUID, 100000.00, 100000.00,
    ($regions)[1]::crdb_internal_region)
ON CONFLICT (account_nbr) DO NOTHING;
