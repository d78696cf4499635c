/**
 * Zsh: the completion script for zsh, 5 and later.
 *
 * Built as that for bash, with what each word means beside it. It works from a file `_skein` in `fpath` as well as
 * sourced.
 *
 * Pure.
 */

import type { Offer, Place, Value } from "./tree.ts";

/** The script. */
export function zshScript(places: readonly Place[]): string {
  return `${HEAD}
_skein_at() {
  case $1 in
${places.map(tableOf).join("\n")}
  (*) commands=() options=() valued=() ;;
  esac
}

_skein_value() {
  case "$1 $2" in
${places.flatMap(valuesOf).join("\n")}
  esac
}
${WALK}`;
}

const HEAD = `#compdef skein
# Completion of skein for zsh. For this shell, after compinit: source <(skein completion zsh)
# For all: skein completion zsh > "\${fpath[1]}/_skein"
`;

const WALK = `
# Words with what they mean, as "word:meaning".
_skein_offer() {
  local -a found shown
  local each
  for each in "$@"; do
    found+=("\${each%%:*}")
    shown+=("\${(r:20:)\${each%%:*}}  \${each#*:}")
  done
  compadd -l -d shown -a found
}

_skein_names() {
  local -a found
  found=(\${(f)"$(command "\${words[1]}" $socket completion names "$1" </dev/null 2>/dev/null)"})
  compadd -a found
}

_skein() {
  local at='' flag='' word='' i=0 count=0
  local -a commands options valued socket
  _skein_at ''
  for ((i = 2; i < CURRENT; i++)); do
    word=\${words[i]}
    if [[ -n $flag ]]; then
      if [[ $flag == --socket ]]; then socket=(--socket "$word"); fi
      flag=''
    elif [[ $word == --*=* ]]; then
      if [[ $word == --socket=* ]]; then socket=("$word"); fi
    elif [[ $word == -* ]]; then
      if (( \${valued[(Ie)$word]} )); then flag=$word; fi
    elif (( count == 0 && \${commands[(I)$word:*]} )); then
      at=\${at:+$at }$word
      _skein_at "$at"
    else
      (( count += 1 ))
    fi
  done
  if [[ -z $flag && $PREFIX == --*=* ]]; then
    flag=\${PREFIX%%=*}
    compset -P '*='
  fi
  if [[ -n $flag ]]; then
    _skein_value "$at" "$flag"
  elif [[ $PREFIX == -* ]]; then
    _skein_offer $options
  elif (( \${#commands} && count == 0 )); then
    _skein_offer $commands
  else
    _skein_value "$at" "$count"
  fi
}

if [[ \${funcstack[1]} == _skein ]]; then
  _skein "$@"
else
  compdef _skein skein
fi
`;

function tableOf({ at, commands, flags }: Place): string {
  const options = flags.flatMap(({ flags: names, text }) => names.map((word) => ({ word, text })));
  const valued = flags.filter(({ value }) => value !== null).flatMap((one) => one.flags);
  return `  ('${at}')
    commands=(${commands.map(offer).join(" ")})
    options=(${options.map(offer).join(" ")})
    valued=(${valued.join(" ")}) ;;`;
}

function offer({ word, text }: Offer): string {
  return `'${word}:${text.replaceAll("'", `'\\''`)}'`;
}

function valuesOf({ at, flags, values }: Place): readonly string[] {
  const ofFlags = flags.map(({ flags: names, value }) => ({ names, value }));
  const ofArguments = values.map((value, index) => ({ names: [String(index)], value }));
  return [...ofFlags, ...ofArguments].flatMap(({ names, value }) => {
    const done = value === null ? null : offered(value);
    return done === null ? [] : [`  (${names.map((name) => `'${at} ${name}'`).join(" | ")}) ${done} ;;`];
  });
}

function offered(value: Value): string | null {
  switch (value.kind) {
    case "names":
      return `_skein_names ${value.of}`;
    case "files":
      return "_files";
    case "words":
      return `compadd -- ${value.words.join(" ")}`;
    case "any":
      return null;
  }
}
