# Jobs that leave traces in Redis as those of the Python side do, under the same names.
require "sidekiq"

redis = {url: ENV.fetch("REDIS_URL")}
if ENV["KEY_PREFIX"]
  require "redis-namespace"
  redis[:namespace] = ENV["KEY_PREFIX"].delete_suffix(":")
end
Sidekiq.configure_client { |config| config.redis = redis }
Sidekiq.configure_server do |config|
  config.redis = redis
  config.options[:poll_interval_average] = 1
end

TRACES = Redis.new(url: ENV.fetch("REDIS_URL"))

def trace(name, key) = TRACES.hincrby("test:#{name}", key.to_s, 1)

class Count
  include Sidekiq::Job

  def perform(side, number) = trace("counted:ruby", "#{side}:#{number}")
end

class Gated
  include Sidekiq::Job

  def perform(name) = raise("only the Python side opens gates")
end

# Fails on the side that it is told to fail on, each time.
class FailsOn
  include Sidekiq::Job
  sidekiq_options retry: 5, tags: ["two", "sides"]
  sidekiq_retry_in { 0 }

  def perform(side, name)
    trace("tried:ruby", name)
    raise ArgumentError, "Ruby fails" if side == "ruby"
    trace("done:ruby", name)
  end
end

class DiesAtOnce
  include Sidekiq::Job
  sidekiq_options retry: 0

  def perform(name) = raise("Ruby buries #{name}")
end
