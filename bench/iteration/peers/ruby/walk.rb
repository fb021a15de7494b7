# A long job as a Sidekiq 6.4 user writes it by hand, since iteration came with 7.3: sidekiq -r ./walk.rb -c 1 -q walks.
# It looks at the clock and at the end of the process between two rows, keeps its cursor in Redis every few seconds, and
# puts itself back into its queue when the process is to end. Its task is that of ../../programs/jobs.py.
require "csv"
require "json"
require "sidekiq"

Sidekiq.configure_server do |config|
  config.redis = { url: "redis://127.0.0.1:#{ENV.fetch('BENCH_REDIS_PORT')}/0" }
  config.on(:quiet) { Walk.leaving = true }
end
Sidekiq.logger.level = Logger::WARN

class Walk
  include Sidekiq::Worker
  sidekiq_options queue: "walks", retry: false

  CHECKPOINT_SECONDS = 5.0 # as jobworker's default
  MILLISECOND = 0.001

  class << self
    attr_accessor :leaving
  end

  def perform(task)
    began, used = clock, Process.clock_gettime(Process::CLOCK_PROCESS_CPUTIME_ID)
    @saved = began
    rows = walk(task, load(task))
    return Walk.perform_async(task) if rows.nil?

    Sidekiq.redis { |redis| redis.del(key(task)) }
    tell(task, rows, clock - began, Process.clock_gettime(Process::CLOCK_PROCESS_CPUTIME_ID) - used)
  end

  private

  def walk(task, done)
    each(task, done) do |row|
      work(row)
      done += 1
      if Walk.leaving
        save(task, done)
        return nil
      elsif clock - @saved >= CHECKPOINT_SECONDS
        save(task, done)
      end
    end
    done
  end

  def work(_row) = nil

  # The cursor is the number of rows done; going on skips them one by one, which is what most people write.
  def each(task, done, &block)
    case task["kind"]
    when "range"
      (done...task["place"]).each(&block)
    when "csv"
      CSV.open(task["place"], headers: true) do |csv|
        done.times { csv.shift }
        csv.each(&block)
      end
    when "json"
      File.open(task["place"]) do |file|
        done.times { file.gets }
        file.each_line { |line| block.call(JSON.parse(line)) }
      end
    end
  end

  def load(task) = Integer(Sidekiq.redis { |redis| redis.get(key(task)) } || 0)

  def save(task, done)
    Sidekiq.redis { |redis| redis.set(key(task), done) }
    @saved = clock
  end

  def key(task) = "cursor:#{task['told']}"

  def clock = Process.clock_gettime(Process::CLOCK_MONOTONIC)

  def tell(task, rows, seconds, cpu)
    File.write("#{task['told']}.part", JSON.generate(rows: rows, seconds: seconds, cpu_seconds: cpu))
    File.rename("#{task['told']}.part", task["told"])
  end
end
