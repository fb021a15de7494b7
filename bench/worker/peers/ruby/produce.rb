# Enqueues for Sidekiq: ruby produce.rb bulk|single|spaced. The modes are those of ../python/producing.py.
require "json"
require_relative "jobs"

def clock = Process.clock_gettime(Process::CLOCK_MONOTONIC, :nanosecond)

def spaced
  shortest, longest = ENV.fetch("BENCH_GAPS").split(":").map(&:to_f)
  sent = Array.new(COUNT) do |number|
    sleep(shortest + rand * (longest - shortest))
    clock.tap { Work.perform_async(number) }
  end
  File.binwrite("#{ENV.fetch('BENCH_FOLDER')}/sent", sent.pack("q*"))
end

mode = ARGV.fetch(0)
Sidekiq.redis(&:ping)
began = clock
case mode
when "bulk"
  (0...COUNT).each_slice(1000) { |numbers| Sidekiq::Client.push_bulk("class" => Work, "args" => numbers.zip) }
when "single"
  COUNT.times { |number| Work.perform_async(number) }
when "spaced"
  spaced
end
puts JSON.generate(seconds: (clock - began) / 1e9, jobs: COUNT)
