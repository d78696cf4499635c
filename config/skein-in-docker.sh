#!/bin/sh
# The command skein of a host whose daemon is a container: as /usr/local/bin/skein it works in scripts, for completion in
# shells, and on a terminal. Files named on its line are the container's.
t=
[ -t 0 ] && [ -t 1 ] && t=-t
exec docker exec -i $t skein skein "$@"
