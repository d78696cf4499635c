// The in-memory pair of links keeps the contract of the real one.

import { linkContract } from "../contracts/link.ts";

import { openMemoryLinks } from "./memory-link.ts";

linkContract("in memory", () => Promise.resolve({ ...openMemoryLinks([1, 2]), dispose: () => undefined }));
