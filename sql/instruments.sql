-- What there is to trade and its prices, the same on every engine. Rows that are there already stay
-- as they are: prices have moved since.

-- Nine well-known instruments. Their figures are sample data as of May 2024, kept for the page
-- that shows them; volumes are in millions of shares, yields in percent. NULL: not known.
INSERT INTO instruments (symbol, name, initial_price, details)
SELECT symbol, name, price,
    jsonb_build_object(
        'sample', true,
        'as_of', '2024-05',
        'description', description,
        'ceo', ceo,
        'employees', employees,
        'headquarters', headquarters,
        'founded', founded,
        'market_cap', market_cap,
        'pe_ratio', pe_ratio,
        'dividend_yield_percent', dividend_yield,
        'average_volume_millions', average_volume,
        'high_today', high_today,
        'low_today', low_today,
        'open_price', open_price,
        'high_52_week', high_52_week,
        'low_52_week', low_52_week,
        'volume_millions', volume
    )
FROM (VALUES
    ('GOOGL', 'Alphabet Inc.', 175.76::DECIMAL(20,2),
     'Search, advertising, video and cloud services.',
     'Sundar Pichai', 182502, 'Mountain View, California', 2015,
     '2.20T', 27.04, NULL::DECIMAL, 16.79, 178.51, 174.70, 175.76, 179.95, 115.83, 15.64),
    ('MSFT', 'Microsoft Corp.', 429.82,
     'Operating systems, office software and cloud services.',
     'Satya Nadella', 221000, 'Redmond, Washington', 1975,
     '3.20T', 37.27, 0.66, 17.05, 431.62, 426.63, 429.82, 433.60, 309.45, 15.71),
    ('DIS', 'The Walt Disney Co.', 101.29,
     'Films, television, streaming and theme parks.',
     'Robert A. Iger', 225000, 'Burbank, California', 1923,
     '186.78B', 110.25, 0.29, 9.77, 102.86, 100.95, 101.29, 123.74, 78.73, 7.81),
    ('RIVN', 'Rivian Automotive Inc.', 10.43,
     'Electric pickups, sport utility vehicles and delivery vans.',
     'Robert Joseph Scaringe', 16790, 'Irvine, California', 2009,
     '10.37B', -1.81, NULL, 39.51, 10.68, 10.31, 10.43, 28.06, 8.26, 22.93),
    ('PLTR', 'Palantir Technologies Inc.', 21.08,
     'Data analysis platforms for governments and companies.',
     'Alexander Caedmon Karp', 3735, 'Denver, Colorado', 2003,
     '46.90B', 165.83, NULL, 33.98, 21.22, 20.73, 21.08, 27.50, 12.34, 26.23),
    ('NFLX', 'Netflix Inc.', 647.00,
     'Films and series, streamed by subscription.',
     'Theodore A. Sarandos', 13000, 'Los Gatos, California', 1997,
     '279.88B', 44.87, NULL, 3.13, 650.50, 643.03, 647.00, 652.00, 344.73, 2.61),
    ('JPM', 'JPMorgan Chase & Co.', 199.83,
     'Retail, commercial and investment banking.',
     'James Dimon', 309926, 'New York, New York', 1968,
     '573.01B', 12.12, 2.12, 9.84, 201.50, 198.67, 199.83, 205.88, 134.40, 6.91),
    ('NVDA', 'NVIDIA Corp.', 1102.24,
     'Graphics processors and accelerators for data centres.',
     'Jen Hsun Huang', 29600, 'Santa Clara, California', 1993,
     NULL, NULL, NULL, 41.48, 1149.39, 1085.20, 1102.24, 1149.39, 366.35, 64.87),
    ('AAPL', 'Apple Inc.', 191.51,
     'Phones, computers, wearables and services for them.',
     'Timothy Donald Cook', 161000, 'Cupertino, California', 1976,
     '2.92T', 29.54, 0.51, 49.76, 194.81, 189.10, 191.51, 199.62, 164.08, 52.21)
) AS sample (
    symbol, name, price, description, ceo, employees, headquarters, founded,
    market_cap, pe_ratio, dividend_yield, average_volume,
    high_today, low_today, open_price, high_52_week, low_52_week, volume
)
ON CONFLICT (symbol) DO NOTHING;

-- Instruments for load, LK001 to LK300. A row lock is held while a commit waits for other regions,
-- so few rows would limit the load, not the database. Prices lie between 50.00 and 499.99: far from
-- the floor.
INSERT INTO instruments (symbol, name, initial_price, details)
SELECT symbol, 'Lab Instrument ' || n::TEXT, price,
    jsonb_build_object(
        'generated', true,
        'description', 'Made up, so that load spreads over many rows.'
    )
FROM (
    SELECT n, 'LK' || lpad(n::TEXT, 3, '0') AS symbol,
        ((5000 + n * 7919 % 45000) / 100.0)::DECIMAL(20,2) AS price
    FROM generate_series(1, 300) AS numbers (n)
) AS generated
ON CONFLICT (symbol) DO NOTHING;

-- Last, so that it prices all of them.
INSERT INTO prices (symbol, current_price)
SELECT symbol, initial_price FROM instruments
ON CONFLICT (symbol) DO NOTHING;
