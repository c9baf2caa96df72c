# A token for a password, statistics for the token. One line of JSON for each answer.
login=$(curl -sS -X POST "$BASE_URL/api/auth/login" -H "Content-Type: application/json" -d "{\"email\": \"$EMAIL\", \"password\": \"$PASSWORD\"}")
token=${login#*'"token":"'}
token=${token%%'"'*}

curl -sS -w '\n' "$BASE_URL/api/stats?siteId=$SITE&period=7d" -H "Authorization: Bearer $token"
curl -sS -w '\n' $BASE_URL/api/stats?siteId=$SITE -H "Authorization: Bearer none"
