# An event from a server, and the statistics of a site. One line of JSON for each answer.
ask() { curl -sS -w '\n' -H "Authorization: Bearer $OVYXA_KEY" "$@"; }
api=$BASE_URL/api/v1

ask -X POST "$api/events/pageview" -H "Content-Type: application/json" -d '{"site_id": "'"$SITE"'", "url": "https://shop.example/a"}'
ask "$api/stats/overview?site_id=$SITE&date_from=2025-01-01&date_to=2025-01-31&timezone=Europe/Berlin&compare=true"
ask "$api/stats/overview?date_from=2025-01-01&date_to=2025-01-31"
