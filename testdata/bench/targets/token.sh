#!/bin/sh
# Prints an access token for one server of the running daemon: token.sh MCPD SERVER STATE-DIR
set -eu
mcpd=$1 server=$2 state=$3
"$mcpd" user list --config mcpd.toml --state-dir "$state" | grep -q '^bench ' ||
	echo correct-horse-battery-9 | "$mcpd" user add bench --password-stdin --config mcpd.toml --state-dir "$state" >/dev/null 2>&1
exec "$mcpd" token create --user bench --server "$server" --config mcpd.toml --state-dir "$state"
