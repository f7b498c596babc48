#!/bin/sh
# Pool and deployments in a server that runs already (PREFECT_API_URL). Whoever has gradsieve serve needs none of this.
set -eu
cd "$(dirname "$0")/.."
prefect --no-prompt work-pool create gradsieve --type process --overwrite \
    --base-job-template deployments/work-pools/process.json
exec prefect --no-prompt deploy --all --prefect-file deployments/prefect.yaml
