/**
 * Bash: the completion script for bash, 3.2 and later, without the package bash-completion.
 *
 * It walks over the words before the cursor to find the command that is meant, with tables made of the commands
 * themselves; only names are asked from the daemon. Words from outside are compared and never evaluated: `compgen -W`
 * would expand `$(...)` in them. Who asks for names is given no standard input: that is where the next keys are, and a
 * `skein` that is a script around `docker exec -i` would take them.
 *
 * Pure.
 */

import type { Place, Value } from "./tree.ts";

/** The script. */
export function bashScript(places: readonly Place[]): string {
  return `${HEAD}
_skein_at() {
  case $1 in
${places.map(tableOf).join("\n")}
  *) commands='' options='' valued='' ;;
  esac
}

_skein_value() {
  case "$1 $2" in
${places.flatMap(valuesOf).join("\n")}
  esac
}
${WALK}`;
}

const HEAD = `# Completion of skein for bash. For this shell: source <(skein completion bash)
# For all: skein completion bash > /usr/share/bash-completion/completions/skein
`;

const WALK = `
_skein_words() {
  local word
  for word in "$@"; do
    if [[ $word == "$cur"* ]]; then COMPREPLY+=("$word"); fi
  done
}

_skein_files() {
  local word
  compopt -o filenames 2>/dev/null
  while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -f -- "$cur")
}

_skein_names() {
  local word
  while IFS= read -r word; do _skein_words "$word"; done \\
    < <(command "\${COMP_WORDS[0]}" \${socket[@]+"\${socket[@]}"} completion names "$1" </dev/null 2>/dev/null)
}

_skein() {
  local cur=\${COMP_WORDS[COMP_CWORD]} at='' flag='' word='' i=0 count=0
  local commands='' options='' valued='' socket=()
  COMPREPLY=()
  _skein_at ''
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    # Bash takes --flag=value for three words.
    if [[ $word == '=' ]]; then continue; fi
    if [[ -n $flag ]]; then
      if [[ $flag == --socket ]]; then socket=(--socket "$word"); fi
      flag=''
    elif [[ $word == -* ]]; then
      if [[ " $valued " == *" $word "* ]]; then flag=$word; fi
    elif [[ $count == 0 && " $commands " == *" $word "* ]]; then
      at=\${at:+$at }$word
      _skein_at "$at"
    else
      count=$((count + 1))
    fi
  done
  if [[ $cur == '=' ]]; then cur=''; fi
  if [[ -n $flag ]]; then
    _skein_value "$at" "$flag"
  elif [[ $cur == -* ]]; then
    _skein_words $options
  elif [[ -n $commands && $count == 0 ]]; then
    _skein_words $commands
  else
    _skein_value "$at" "$count"
  fi
}

complete -F _skein skein
`;

function tableOf({ at, commands, flags }: Place): string {
  const all = flags.flatMap((one) => one.flags);
  const valued = flags.filter(({ value }) => value !== null).flatMap((one) => one.flags);
  const words = commands.map(({ word }) => word);
  const tables = [
    `commands='${words.join(" ")}'`,
    `options='${all.join(" ")}'`,
    `valued='${valued.join(" ")}'`,
  ];
  return `  '${at}') ${tables.join(" ")} ;;`;
}

function valuesOf({ at, flags, values }: Place): readonly string[] {
  const ofFlags = flags.map(({ flags: names, value }) => ({ names, value }));
  const ofArguments = values.map((value, index) => ({ names: [String(index)], value }));
  return [...ofFlags, ...ofArguments].flatMap(({ names, value }) => {
    const done = value === null ? null : offered(value);
    return done === null ? [] : [`  ${names.map((name) => `'${at} ${name}'`).join(" | ")}) ${done} ;;`];
  });
}

function offered(value: Value): string | null {
  switch (value.kind) {
    case "names":
      return `_skein_names ${value.of}`;
    case "files":
      return "_skein_files";
    case "words":
      return `_skein_words ${value.words.join(" ")}`;
    case "any":
      return null;
  }
}
