# Both ways to show a key. One line of JSON for each answer.
api=$BASE_URL/api/v1

curl -sS -w '\n' -X GET "$api/account" -H "X-API-Key: $JETRACK_KEY"
curl -sS -w '\n' -X GET "$api/account" -H "Authorization: Bearer $JETRACK_KEY"
curl -sS -w '\n' -X GET "$api/websites/$WEBSITE/stats/main?from=2025-01-01&to=2025-01-31" -H "X-API-Key: $JETRACK_KEY"
curl -sS -w '\n' "$api/websites" -H "X-API-Key: bj_live_nobody"
