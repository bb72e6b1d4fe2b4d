#!/usr/bin/env bash
# What each kind of job prints and logs, on a small simulated market and a small archive, as Markdown:
#   examples/sample_runs.sh > docs/sample-runs.md      (make samples)
set -euo pipefail
bin=$(cd "$(dirname "$0")/.." && pwd)/.venv/bin
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export PATH="$bin:$PATH" QUANT_ASSETS_HOME=data QUANT_ASSETS_SIMULATED__SYMBOLS=3 COLUMNS=100 NO_COLOR=1

# Prints a command with all it says; the folder of this script's run is called ~.
typed() {
    printf '\n```console\n$ %s\n' "$*"
    { "$@" 2>&1 || echo "(exit code $?)"; } | grep -v '^loading: ' | sed "s#$folder#~#g; s/ *$//"
    printf '```\n'
}

newest() { quant-assets runs --json | python -c 'import json, sys; print(json.load(sys.stdin)[0]["run_id"])'; }

log_of_newest() {
    printf '\nIts log:\n'
    typed quant-assets runs "$(newest)" --log
}

echo '# What jobs print and log'
printf '\nMade by `make samples`, on a simulated market of three companies and an archive with one bad row.\n'
printf 'The same log is in a file a run, `logs/<day>/<time>-<run>.log` of the data folder, and in the\n'
printf 'run of the Dagster UI; `quant-assets runs RUN --log` reads it from the database.\n'

printf '\n## The whole graph: demo\n'
typed quant-assets demo
log_of_newest

printf '\n## A refresh that finds nothing due\n'
typed quant-assets refresh

printf '\n## A backfill as a Dagster run\n'
typed quant-assets backfill --dagster --source simulated --symbols XDADA --start 2026-11-02 --end 2026-11-06 --force
log_of_newest

printf '\n## An archive with a bad row\n'
export QUANT_ASSETS_HOME=archive-data
mkdir archive
cat > archive/AAPL.csv <<'CSV'
Date,Open,High,Low,Close,Volume
2024-05-20,189.33,191.92,189.01,191.04,44361300
2024-05-21,191.09,192.73,190.92,192.35,42309400
2024-05-22,192.27,189.82,190.27,190.90,34648500
CSV
typed quant-assets files inspect archive
quant-assets files inspect archive | sed -n '/^\[files/,/^$/p' > quant_assets.toml
typed quant-assets backfill --source files:archive --start 2024-05-20 --end 2024-05-22
log_of_newest
typed quant-assets status
typed quant-assets status --lacking

printf '\n## Dagster brought into agreement, and its history kept small\n'
typed quant-assets reconcile
typed quant-assets prune --days 30 --dry-run
