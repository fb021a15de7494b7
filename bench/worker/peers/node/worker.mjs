// A BullMQ worker: node worker.mjs CONCURRENCY
import { Worker } from "bullmq";
import { work } from "./effects.mjs";

const worker = new Worker("bench", work, {
  connection: { host: "127.0.0.1", port: Number(process.env.BENCH_REDIS_PORT) },
  concurrency: Number(process.argv[2]),
  removeOnComplete: { count: 0 },
});
worker.on("error", (error) => console.error(error));
process.on("SIGTERM", async () => {
  await worker.close();
  process.exit(0);
});
