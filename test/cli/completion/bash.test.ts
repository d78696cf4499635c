// Bash completes skein's command line.

import { testShell } from "./shells.ts";

const PRESS = `
source "$1"
read -ra COMP_WORDS <<< "$2"
if [[ $2 == *' ' ]]; then COMP_WORDS+=(''); fi
COMP_CWORD=$((\${#COMP_WORDS[@]} - 1))
complete -p skein > /dev/null
_skein
printf '%s\\n' "\${COMPREPLY[@]}"`;

testShell({
  name: "bash",
  press: (script, line) => ["bash", "--norc", "-c", PRESS, "bash", script, line],
});
