"""Who is who, in SQL: the log of aliases resolved as `storage/query/identities.resolve` does it."""

from schemas.people import ALIAS, ALIAS_UNDO

# An alias and all that were one with it join the person named, who keeps their id; so the order of entries counts.
# Most aliases are named once and settle nothing else: they are leaves, and follow their person at the end. What is
# left falls into small components, in each of which entries are carried out one by one, all components side by side.
IDENTITIES = f"""WITH RECURSIVE changes AS (
  SELECT project_id, distinct_id AS person, (properties ->> '/alias') AS alias, event = '{ALIAS_UNDO}' AS is_undo,
    (epoch_ms(received_at), kafka_log, kafka_partition, kafka_offset, record_index) AS place
  FROM events
  WHERE event IN ('{ALIAS}', '{ALIAS_UNDO}') AND distinct_id <> ''
    AND json_type(properties, '/alias') = 'VARCHAR' AND (properties ->> '/alias') <> ''
), undone AS (
  SELECT project_id, alias, person, max(place) AS place FROM changes WHERE is_undo GROUP BY ALL
), live AS (
  SELECT made.project_id, made.alias, made.person, min(made.place) AS place
  FROM changes AS made LEFT JOIN undone USING (project_id, alias, person)
  WHERE NOT made.is_undo AND made.alias <> made.person AND (undone.place IS NULL OR made.place > undone.place)
  GROUP BY ALL
), named AS (
  SELECT project_id, alias AS id FROM live UNION ALL SELECT project_id, person AS id FROM live
), once AS (
  SELECT project_id, id FROM named GROUP BY ALL HAVING count(*) = 1
), core AS (
  SELECT * FROM live WHERE (project_id, alias) NOT IN (SELECT (project_id, id) FROM once)
), joined AS (
  SELECT project_id, alias AS one, person AS other FROM core
  UNION ALL SELECT project_id, person AS one, alias AS other FROM core
), reached AS (
  SELECT project_id, one AS id, one AS label FROM joined
  UNION SELECT joined.project_id, joined.other AS id, reached.label
  FROM reached JOIN joined ON joined.project_id = reached.project_id AND joined.one = reached.id
), nodes AS (
  SELECT project_id, id, min(label) AS label FROM reached GROUP BY ALL
), entries AS (
  SELECT project_id, nodes.label, alias, person,
    row_number() OVER (PARTITION BY project_id, nodes.label ORDER BY place) AS turn
  FROM core JOIN nodes USING (project_id) WHERE nodes.id = core.alias
), folded AS (
  SELECT 0::BIGINT AS turn, project_id, label, id, id AS root FROM nodes
  UNION ALL
  SELECT entries.turn, known.project_id, known.label, known.id,
    CASE WHEN known.root = moved.root THEN kept.root ELSE known.root END AS root
  FROM folded AS known
  JOIN entries ON entries.project_id = known.project_id AND entries.label = known.label
    AND entries.turn = known.turn + 1
  JOIN folded AS moved ON moved.project_id = known.project_id AND moved.id = entries.alias
  JOIN folded AS kept ON kept.project_id = known.project_id AND kept.id = entries.person
), roots AS (
  SELECT project_id, id, arg_max(root, turn) AS root FROM folded GROUP BY ALL
), leaves AS (
  SELECT live.project_id, live.alias AS id, coalesce(roots.root, live.person) AS root
  FROM live SEMI JOIN once ON once.project_id = live.project_id AND once.id = live.alias
  LEFT JOIN roots ON roots.project_id = live.project_id AND roots.id = live.person
)
SELECT project_id, id AS alias, root AS person_id FROM roots WHERE root <> id
UNION ALL SELECT project_id, id AS alias, root AS person_id FROM leaves"""
