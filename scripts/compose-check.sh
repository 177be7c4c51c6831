#!/bin/sh
# Validates every form of docker-compose.yml by Compose itself, and the Dockerfile by hadolint. Neither needs an engine.
# COMPOSE is `docker compose` unless told: a binary made by `go install github.com/docker/compose/v5/cmd@v5.0.2` does, too.
set -eu
cd "$(dirname "$0")/.."
COMPOSE="${COMPOSE:-docker compose}"

[ -f .env ] || npm run -s compose:env
for files in "-f docker-compose.yml" "-f docker-compose.yml -f docker-compose.gateway.yml"; do
  for profile in "" "--profile dev" "--profile observability" "--profile *"; do
    # Unquoted: these are several words each; the star stands for every profile and names no file.
    (set -f && $COMPOSE $files $profile config -q)
  done
done

# Without its secrets nothing starts.
if $COMPOSE --env-file /dev/null -f docker-compose.yml config -q 2>/dev/null; then
  echo "docker-compose.yml has a default for a secret" >&2
  exit 1
fi
hadolint Dockerfile
echo "docker-compose.yml and Dockerfile are in order"
