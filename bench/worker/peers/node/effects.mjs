// The work of a job, and its effects in a file that the bench reads: see ../python/effects.py.
// Node maps no files into memory, so the places are written out every 10 ms, and at once when all jobs ran here.
import fs from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

const count = Number(process.env.BENCH_COUNT);
const [kind, milliseconds] = process.env.BENCH_JOB.split(":");
const stamps = kind === "stamp";
const places = stamps ? new BigInt64Array(count) : new Uint8Array(count);
const bytes = new Uint8Array(places.buffer);
const file = fs.openSync(`${process.env.BENCH_FOLDER}/${stamps ? "times" : "seen"}-${process.pid}`, "w+");
fs.ftruncateSync(file, bytes.length);
let ran = 0;
let written = 0;

function write() {
  if (written === ran) return;
  fs.writeSync(file, bytes, 0, bytes.length, 0);
  written = ran;
}
setInterval(write, 10);

function ended() {
  ran += 1;
  if (ran === count) write();
}

export const work = {
  async noop(job) {
    places[job.data] += 1;
    ended();
  },
  async stamp(job) {
    places[job.data] = process.hrtime.bigint();
    ended();
  },
  async sleep(job) {
    await sleep(Number(milliseconds));
    places[job.data] += 1;
    ended();
  },
}[kind];
