#!/bin/sh
# Writes the two files of secrets that docker-compose.yml reads, each readable by you alone, with a
# new password. A file that is there stays as it is. Usage: sh deploy/secrets.sh
set -eu
umask 077
folder=.dealthread/compose
mkdir -p "$folder"

if [ -e "$folder/postgres.env" ]; then
    password=$(sed -n 's/^POSTGRES_PASSWORD=//p' "$folder/postgres.env")
else
    password=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
    # One password under the names that PostgreSQL, Temporal's server and its schema tool read.
    cat > "$folder/postgres.env" <<END
POSTGRES_USER=dealthread
POSTGRES_PASSWORD=$password
POSTGRES_PWD=$password
SQL_PASSWORD=$password
END
    echo "wrote $folder/postgres.env"
fi

if [ ! -e "$folder/worker.env" ]; then
    cat > "$folder/worker.env" <<END
DEALTHREAD_STORE__URL=postgresql://dealthread:$password@postgres:5432/dealthread
END
    echo "wrote $folder/worker.env: add a line DEALTHREAD_CONNECTIONS__<NAME>__SECRETS__<KEY>=... per secret"
fi
