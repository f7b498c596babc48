#!/bin/sh
# Runs a command with the container's secrets in its environment, where Prefect, asyncpg and obstore look for them.
set -eu

folder=${SECRETS_FOLDER:-/run/secrets}
# A secret that is there and cannot be read would leave a server open.
for name in auth database store; do
    if [ -e "$folder/$name" ] && ! { [ -r "$folder/$name" ] && [ -s "$folder/$name" ]; }; then
        echo "with-secrets: $folder/$name is empty, or user $(id -u) may not read it." >&2
        echo "Make it as the head of deployments/compose.yaml says: chmod 644, in a folder of mode 700." >&2
        exit 1
    fi
done
secret() { [ -e "$folder/$1" ] && cat "$folder/$1"; }

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
