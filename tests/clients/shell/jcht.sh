# Events in and out, sources, dashboards and figures. One line of JSON for each answer.
ask() { curl -sS -w '\n' -H "X-API-Key: $JCHT_KEY" "$@"; }
api=$BASE_URL/api/v1

ask -X POST "$api/events" -H "Content-Type: application/json" -d '{
  "event": "checkout", "userId": "ann", "timestamp": "2025-01-20T08:00:00Z", "properties": {"plan": "pro"}
}'
ask "$api/events?event=pageview&from=2025-01-01&to=2025-01-31&limit=1"
ask -X POST "$api/sources" -H "Content-Type: application/json" -d '{
  "provider": "google_analytics", "name": "Shop", "credentials": {"measurementId": "G-1234567", "apiSecret": "a-secret-of-theirs"}
}'
ask "$api/sources"
ask "$api/dashboards"
ask "$api/metrics?metric=unique_users&from=2025-01-30&to=2025-01-31&interval=day"
curl -sS -w '\n' "$api/events"
