import { openWire, boxAddress } from "./kernel-wire.ts";
const wire = await openWire();
try {
  const [a, b] = wire.hosts;
  for (const o of [{kind:"links"},{kind:"rules",services:10,replicas:3},{kind:"rules",services:1000,replicas:10},{kind:"rules",services:1000,replicas:10},...[1,2,3,4,5].map(i=>({kind:"change",index:i*7})),{kind:"rules",services:10000,replicas:3},{kind:"remove"}] as any[])
    { const r = await a.order(o); console.log(JSON.stringify(o), JSON.stringify(r)); }
  console.log(await a.run(["nft","list","ruleset"]));
} finally { await wire.close(); }
