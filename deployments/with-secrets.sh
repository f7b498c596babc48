#!/bin/sh
# Runs a command with the container's secrets in its environment, where Prefect, asyncpg and obstore look for them.
set -eu

folder=${SECRETS_FOLDER:-/run/secrets}
secret() { [ -r "$folder/$1" ] && cat "$folder/$1"; }

if value=$(secret auth); then
    export PREFECT_API_AUTH_STRING="gradsieve:$value" PREFECT_SERVER_API_AUTH_STRING="gradsieve:$value"
fi
if value=$(secret database); then
    export PGPASSWORD="$value"
fi
if value=$(secret store); then
    export AWS_ACCESS_KEY_ID=gradsieve AWS_SECRET_ACCESS_KEY="$value"
fi
unset value
exec "$@"
