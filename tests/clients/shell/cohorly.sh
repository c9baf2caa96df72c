# Projects with the account's key, health without one. One line of JSON for each answer.
ask() { curl -sS -w '\n' -H "Authorization: Bearer $COHORLY_KEY" "$@"; }

ask "$BASE_URL/api/projects"
ask -X POST "$BASE_URL/api/projects" -H "Content-Type: application/json" -d '{ "name": "'"$NEW"'" }'
ask -X POST "$BASE_URL/api/projects" -H "Content-Type: application/json" -d '{ "name": "'"$NEW"'" }'
ask "$BASE_URL/api/stats?projectId=1"
curl -sS -w '\n' "$BASE_URL/status"
