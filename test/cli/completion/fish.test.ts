// Fish completes skein's command line.

import { testShell } from "./shells.ts";

testShell({
  name: "fish",
  press: (script, line) => [
    "fish",
    "--no-config",
    "-c",
    "source $argv[1]; complete -C $argv[2]",
    script,
    line,
  ],
});
