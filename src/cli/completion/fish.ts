/**
 * Fish: the completion script for fish, 3 and later.
 *
 * Built as that for bash, with what each word means beside it.
 *
 * Pure.
 */

import type { Offer, Place, Value } from "./tree.ts";

/** The script. */
export function fishScript(places: readonly Place[]): string {
  return `${HEAD}
function __skein_commands
    switch "$argv[1]"
${places.flatMap(({ at, commands }) => caseOf(at, commands)).join("\n")}
    end
end

function __skein_options
    switch "$argv[1]"
${places.flatMap((place) => caseOf(place.at, optionsOf(place))).join("\n")}
    end
end

function __skein_is_valued
    switch "$argv"
${places.flatMap(valuedOf).join("\n")}
    end
    return 1
end

function __skein_value
    switch "$argv"
${places.flatMap(valuesOf).join("\n")}
    end
end
${WALK}`;
}

const HEAD = `# Completion of skein for fish. For this shell: skein completion fish | source
# For good: skein completion fish > ~/.config/fish/completions/skein.fish
`;

const WALK = `
function __skein_complete
    set -l words (commandline -opc)
    set -l program $words[1]
    set -e words[1]
    set -l at ''
    set -l flag ''
    set -l count 0
    set -l socket
    for word in $words
        if test -n "$flag"
            test "$flag" = --socket; and set socket --socket $word
            set flag ''
        else if string match -q -- '--*=*' $word
            string match -q -- '--socket=*' $word; and set socket $word
        else if string match -q -- '-*' $word
            __skein_is_valued $at $word; and set flag $word
        else if test $count -eq 0; and contains -- $word (__skein_commands "$at" | string replace -r '\\t.*' '')
            set at (string trim -- "$at $word")
        else
            set count (math $count + 1)
        end
    end
    set -l current (commandline -ct)
    set -l prefix ''
    if test -z "$flag"; and string match -q -- '--*=*' $current
        set flag (string replace -r '=.*' '' -- $current)
        set prefix "$flag="
    end
    if test -n "$flag"
        __skein_answer $prefix (__skein_value $at $flag)
    else if string match -q -- '-*' $current
        __skein_options "$at"
    else if test $count -eq 0; and test -n "$(__skein_commands "$at")"
        __skein_commands "$at"
    else
        __skein_answer '' (__skein_value $at $count)
    end
end

# What stands for itself; names and files are looked up.
function __skein_answer --no-scope-shadowing
    set -l before $argv[1]
    switch "$argv[2]"
        case '@files'
            __fish_complete_path (string replace -- "$before" '' $current)
        case '@names *'
            command $program $socket completion names (string replace '@names ' '' -- $argv[2]) </dev/null 2>/dev/null
        case '*'
            test (count $argv) -gt 1; and printf "$before%s\\n" $argv[2..]
    end
end

complete -c skein -f -a '(__skein_complete)'
`;

function caseOf(at: string, offers: readonly Offer[]): readonly string[] {
  if (offers.length === 0) return [];
  const words = offers.map(({ word, text }) => `${quoted(word)} ${quoted(text)}`);
  return [`        case ${quoted(at)}`, `            printf '%s\\t%s\\n' ${words.join(" ")}`];
}

function optionsOf({ flags }: Place): readonly Offer[] {
  return flags.flatMap(({ flags: names, text }) => names.map((word) => ({ word, text })));
}

function valuedOf({ at, flags }: Place): readonly string[] {
  const valued = flags.filter(({ value }) => value !== null).flatMap((one) => one.flags);
  if (valued.length === 0) return [];
  return [`        case ${valued.map((flag) => keyOf(at, flag)).join(" ")}`, "            return 0"];
}

function valuesOf({ at, flags, values }: Place): readonly string[] {
  const ofFlags = flags.map(({ flags: names, value }) => ({ names, value }));
  const ofArguments = values.map((value, index) => ({ names: [String(index)], value }));
  return [...ofFlags, ...ofArguments].flatMap(({ names, value }) => {
    const done = value === null ? null : offered(value);
    if (done === null) return [];
    return [`        case ${names.map((name) => keyOf(at, name)).join(" ")}`, `            ${done}`];
  });
}

function offered(value: Value): string | null {
  switch (value.kind) {
    case "names":
      return `echo '@names ${value.of}'`;
    case "files":
      return "echo @files";
    case "words":
      return `printf '%s\\n' ${value.words.join(" ")}`;
    case "any":
      return null;
  }
}

/** An empty place leaves a space in front: fish joins what it is given. */
function keyOf(at: string, name: string): string {
  return quoted(`${at} ${name}`);
}

function quoted(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}
