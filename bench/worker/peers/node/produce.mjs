// Enqueues for BullMQ: node produce.mjs bulk|single|spaced. The modes are those of ../python/producing.py.
import fs from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { Queue } from "bullmq";

const count = Number(process.env.BENCH_COUNT);
const atOnce = 1000;
const queue = new Queue("bench", { connection: { host: "127.0.0.1", port: Number(process.env.BENCH_REDIS_PORT) } });
const one = (number) => queue.add("work", number);

async function bulk() {
  for (let start = 0; start < count; start += atOnce) {
    const numbers = Array.from({ length: Math.min(atOnce, count - start) }, (_, index) => start + index);
    await queue.addBulk(numbers.map((number) => ({ name: "work", data: number })));
  }
}

async function single() {
  for (let number = 1; number < count; number += 1) await one(number);
}

async function spaced() {
  const [shortest, longest] = process.env.BENCH_GAPS.split(":").map(Number);
  const sent = new BigInt64Array(count);
  for (let number = 0; number < count; number += 1) {
    await sleep(1000 * (shortest + Math.random() * (longest - shortest)));
    sent[number] = process.hrtime.bigint();
    await one(number);
  }
  fs.writeFileSync(`${process.env.BENCH_FOLDER}/sent`, new Uint8Array(sent.buffer));
}

const mode = process.argv[2];
await queue.waitUntilReady();
if (mode === "single") await one(0);
const began = performance.now();
await { bulk, single, spaced }[mode]();
const seconds = (performance.now() - began) / 1000;
console.log(JSON.stringify({ seconds, jobs: mode === "single" ? count - 1 : count }));
await queue.close();
