-- Who trades, 301 accounts. Those for load are 0001000001 to 0001000300. Rows that are there already
-- stay as they are: balances have moved since. They may sell short, or half of a load would be
-- refused.
INSERT INTO users (user_id, name)
SELECT md5('user ' || n)::UUID, 'Lab Trader ' || n
FROM generate_series(1, 300) AS n
ON CONFLICT (user_id) DO NOTHING;

INSERT INTO accounts (account_nbr, user_id, account_id, opening_balance, balance, may_short)
SELECT lpad((1000000 + n)::TEXT, 10, '0'), md5('user ' || n)::UUID, md5('account ' || n)::UUID,
    1000000000.00, 1000000000.00, true
FROM generate_series(1, 300) AS n
ON CONFLICT (account_nbr) DO NOTHING;

-- The account of the person at the trading desk. It sells what it holds.
INSERT INTO users (user_id, name)
VALUES (md5('demo user')::UUID, 'Demo Trader')
ON CONFLICT (user_id) DO NOTHING;

INSERT INTO accounts (account_nbr, user_id, account_id, opening_balance, balance)
VALUES ('0005821112', md5('demo user')::UUID, md5('demo account')::UUID, 100000.00, 100000.00)
ON CONFLICT (account_nbr) DO NOTHING;
