# Evaluates a line of Ruby at a time (JSON strings on stdin) beside Sidekiq's API and web page; answers in JSON.
require "json"
require_relative "jobs"
require "sidekiq/api"
require "sidekiq/web"
require "rack/mock"

SESSION = {}

# A page of Sidekiq::Web as a browser gets it.
def page(path)
  answer = Rack::MockRequest.new(Sidekiq::Web).get(path, "rack.session" => SESSION)
  raise "#{path}: #{answer.status} #{answer.body[0, 500]}" unless answer.status == 200
  answer.body
end

# A form of Sidekiq::Web, sent as a browser does, with the token from the page that it is on.
def submit(path, on, **fields)
  token = page(on)[/name='authenticity_token' value='([^']+)'/, 1] or raise "no token on #{on}"
  answer = Rack::MockRequest.new(Sidekiq::Web).post(
    path, params: {"authenticity_token" => token, **fields.transform_keys(&:to_s)}, "rack.session" => SESSION
  )
  raise "#{path}: #{answer.status} #{answer.body[0, 500]}" unless answer.status == 302
  answer.status
end

console = binding
$stdout.sync = true
answers = $stdout.dup
answers.sync = true
$stdout.reopen($stderr)
while (line = $stdin.gets)
  begin
    answers.puts JSON.generate({"answer" => console.eval(JSON.parse(line, quirks_mode: true))})
  rescue Exception => error # rubocop:disable Lint/RescueException
    answers.puts JSON.generate({"error" => "#{error.class}: #{error.message}\n#{error.backtrace.first(5).join("\n")}"})
  end
end
