-- The models of sql/, written by hand for DuckDB: the lower bound for the warehouse's times.
-- It is a full build in one pass with the same rules, so the row counts must equal the warehouse's.
-- The rules: first copy of an event, 30 minutes of silence, runs collapsed, no clicks after the first purchase,
-- no crawlers, at least two interactions.

CREATE TABLE raw_events AS
SELECT
    json AS payload,
    filename
FROM read_ndjson_objects('{raw}', filename = true, compression = 'gzip');

CREATE TABLE stg_events AS
SELECT
    payload->>'shop_id' || '/' || (payload->>'event_id') AS event_key,
    payload->>'shop_id' AS shop_id,
    payload->>'shop_id' || '/' || (payload->>'client_id') AS client_key,
    payload->>'event_name' AS event_name,
    (payload->'server'->>'event_time_ms')::BIGINT AS event_time_ms,
    payload->'items' AS items,
    coalesce((payload->'server'->>'is_bot')::BOOLEAN, false) AS is_bot
FROM raw_events
QUALIFY row_number() OVER (PARTITION BY payload->>'shop_id', payload->>'event_id' ORDER BY filename) = 1;

CREATE TABLE int_session_events AS
WITH with_starts AS (
    SELECT
        *,
        CASE
            WHEN event_time_ms - lag(event_time_ms) OVER by_client <= 30 * 60000 THEN 0
            ELSE 1
        END AS starts_session
    FROM stg_events
    WHERE NOT is_bot
    WINDOW by_client AS (PARTITION BY client_key ORDER BY event_time_ms, event_key)
)

SELECT
    * EXCLUDE (starts_session),
    client_key || '/' || sum(starts_session) OVER (
        PARTITION BY client_key ORDER BY event_time_ms, event_key ROWS UNBOUNDED PRECEDING
    ) AS session_key
FROM with_starts;

CREATE TABLE training_interactions AS
WITH numbered AS (
    SELECT
        *,
        row_number() OVER (PARTITION BY session_key ORDER BY event_time_ms, event_key) AS event_number
    FROM int_session_events
),

until_purchase AS (
    SELECT * FROM numbered
    QUALIFY event_number <= coalesce(
        min(event_number) FILTER (WHERE event_name = 'purchase') OVER (PARTITION BY session_key), 9223372036854775807
    )
),

touches AS (
    SELECT
        shop_id,
        session_key,
        event_number,
        item_index,
        event_name,
        event_time_ms,
        items->item_index->>'item_id' AS item_id,
        CASE event_name WHEN 'purchase' THEN 3 WHEN 'add_to_cart' THEN 2 ELSE 1 END AS strength
    FROM until_purchase, unnest(range(json_array_length(items)::BIGINT)) AS of_items (item_index)
    WHERE event_name IN ('view_item', 'add_to_cart', 'purchase')
),

with_changes AS (
    SELECT
        *,
        CASE
            WHEN item_id = lag(item_id) OVER (PARTITION BY session_key ORDER BY event_number, item_index) THEN 0
            ELSE 1
        END AS changes_item
    FROM touches
),

with_runs AS (
    SELECT
        *,
        sum(changes_item) OVER (
            PARTITION BY session_key ORDER BY event_number, item_index ROWS UNBOUNDED PRECEDING
        ) - 1 AS position
    FROM with_changes
)

SELECT
    shop_id,
    session_key,
    position,
    item_id,
    arg_max(event_name, strength) AS event_name,
    min(event_time_ms) AS event_time_ms
FROM with_runs
GROUP BY shop_id, session_key, position, item_id
QUALIFY count(*) OVER (PARTITION BY session_key) >= 2
