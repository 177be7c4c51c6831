#!/bin/bash
# Runs once, when the volume is empty: a database and a role of its own for each domain.
set -euo pipefail

for domain in users presence tasks leave_requests notifications; do
  password="HIVER_POSTGRES_PASSWORD_${domain^^}"
  psql --username "$POSTGRES_USER" --dbname postgres -v ON_ERROR_STOP=1 \
    -v role="hiver_$domain" -v password="${!password}" -f /hiver/domain.sql
done

psql --username "$POSTGRES_USER" --dbname postgres -v ON_ERROR_STOP=1 <<'SQL'
revoke connect on database postgres from public;
revoke connect on database template1 from public;
SQL
