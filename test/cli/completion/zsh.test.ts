// Zsh completes skein's command line: the key is pressed in a terminal, as zsh completes nowhere else.

import { testShell } from "./shells.ts";

/** In the shell of the terminal: what is offered is noted on its way, and the end is told. */
const INSIDE = `autoload -Uz compinit; compinit -u -D; source $SCRIPT; bindkey '^I' complete-word; \
compadd() { local -a hits; builtin compadd -O hits "$@"; print -l -- $hits >> $OUT; builtin compadd "$@" }; \
ended() { print -r -- COMPLETION-ENDS }; comppostfuncs=(ended)`;

const PRESS = `
export SCRIPT=$1 OUT=$3
zmodload zsh/zpty
: > $OUT
zpty shell zsh -f -i
zpty -w shell INSIDE-HERE
zpty -w shell 'print READY-TO-''PRESS'
zpty -r shell seen '*READY-TO-PRESS*'
zpty -n -w shell "$2"$'\\t'
zpty -r shell seen '*COMPLETION-ENDS*'
zpty -d shell
cat $OUT`;

testShell({
  name: "zsh",
  press: (script, line, out) => [
    "zsh",
    "-f",
    "-c",
    PRESS.replace("INSIDE-HERE", `'${INSIDE.replaceAll("'", `'\\''`)}'`),
    "zsh",
    script,
    line,
    out,
  ],
});
