# Sidekiq's worker: sidekiq -r ./jobs.rb. The effects go to a file that the bench reads: see ../python/effects.py.
# Ruby maps no files into memory, so the places are written out every 5 ms.
require "sidekiq"

REDIS = { url: "redis://127.0.0.1:#{ENV.fetch('BENCH_REDIS_PORT')}/0", driver: ENV.fetch("BENCH_DRIVER", "ruby").to_sym }
Sidekiq.configure_server { |config| config.redis = REDIS }
Sidekiq.configure_client { |config| config.redis = REDIS }
Sidekiq.logger.level = Logger::WARN # a line for each job is the default, and costs

COUNT = Integer(ENV.fetch("BENCH_COUNT"))
KIND, MILLISECONDS = ENV.fetch("BENCH_JOB").split(":")

class Work
  include Sidekiq::Worker
  SEEN = ("\0" * COUNT).b
  TIMES = Array.new(COUNT, 0)
  SECONDS = MILLISECONDS.to_f / 1000

  case KIND
  when "noop"
    def perform(number) = SEEN.setbyte(number, SEEN.getbyte(number) + 1)
  when "stamp"
    def perform(number) = TIMES[number] = Process.clock_gettime(Process::CLOCK_MONOTONIC, :nanosecond)
  when "sleep"
    def perform(number)
      sleep(SECONDS)
      SEEN.setbyte(number, SEEN.getbyte(number) + 1)
    end
  end
end

if ENV["BENCH_ROLE"] == "worker"
  kind = KIND == "stamp" ? "times" : "seen"
  effects = File.open("#{ENV.fetch('BENCH_FOLDER')}/#{kind}-#{Process.pid}", "wb")
  Thread.new do
    before = nil
    loop do
      sleep(0.005)
      now = KIND == "stamp" ? Work::TIMES.pack("q*") : Work::SEEN.dup
      effects.pwrite(now, 0) unless now == before
      before = now
    end
  end
end
